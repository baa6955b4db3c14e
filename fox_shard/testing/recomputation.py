"""The recomputation of aggregates from the rows that there are.

Owns: what every aggregate should be. Never: how it came to be.
"""

from collections.abc import Mapping

from fox_shard.shard.tables.contributions import shares
from fox_shard.tables.groups import Group
from fox_shard.tables.schema import TableSet
from fox_shard.tables.table import Document


def recomputed(
    schema: TableSet, keys: Mapping[str, Document | None], name: str
) -> dict[str, Document]:
    """Return what the rows of an aggregate should be, by topic.

    keys: the documents of all keys, by topic. An aggregate that others propagate to is recomputed
    from their keys, as they are.
    """
    target = schema.tables[name]
    assert target.aggregate is not None
    groups: dict[str, Group] = {}
    for topic, document in keys.items():
        table = schema.table_of(topic)
        if table is None or document is None:
            continue
        for edge, share in zip(table.edges, shares(table, topic, document), strict=False):
            if edge.target == name and share is not None:
                group = groups.setdefault(share.topic, Group(target.aggregate))
                group.add(share.numbers)
    return {topic: {**target.key_of(topic), **group.results()} for topic, group in groups.items()}


def differences(schema: TableSet, keys: Mapping[str, Document | None]) -> list[str]:
    """Return a sentence for each row of an aggregate that is not what it should be."""
    wrong = []
    for table in schema.tables.values():
        if table.aggregate is None:
            continue
        expected = recomputed(schema, keys, table.name)
        found = {topic: keys[topic] for topic in keys if topic.startswith(table.name + ".")}
        wrong += [
            f"{topic} is {found.get(topic)}, and should be {expected.get(topic)}"
            for topic in sorted(found.keys() | expected.keys())
            if found.get(topic) != expected.get(topic)
        ]
    return wrong
