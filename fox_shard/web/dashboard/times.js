// Times that the processes have measured, as histograms (fox_shard/histogram.py).
//
// Owns: what is read from buckets. Never: when they are asked for, how they are drawn.
//
// Buckets are [the sum in microseconds, the count of each bucket...]. bounds: the upper ones of all
// buckets but the last, in seconds.

export const counted = (buckets) => buckets.slice(1).reduce((sum, count) => sum + count, 0);

/** What was counted since `before`, buckets of the same process. */
export const since = (buckets, before) => buckets.map((count, index) => Math.max(0, count - (before?.[index] ?? 0)));

/** Add the second buckets to the first. */
export function addUp(sum, more) {
  for (const [index, count] of more.entries()) sum[index] += count;
}

/**
 * The time, in milliseconds, that this share of what was counted has not exceeded, as exactly as the
 * buckets have it; null: nothing was counted.
 */
export function quantile(buckets, bounds, share) {
  const counts = buckets?.slice(1) ?? [];
  let left = counts.reduce((sum, count) => sum + count, 0) * share;
  if (!left) return null;
  for (const [index, count] of counts.entries()) {
    // The last bucket has no bound: all that is known is that its times are longer than this.
    if (index === bounds.length) break;
    if (count && left <= count) {
      const low = index ? bounds[index - 1] : 0;
      return (low + ((bounds[index] - low) * left) / count) * 1000;
    }
    left -= count;
  }
  return bounds.at(-1) * 1000;
}
