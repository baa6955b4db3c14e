import { type FormEvent, useEffect, useState } from "react";

import { Messages } from "./Messages";
import { Moderator } from "./Moderator";
import { People } from "./People";
import { Threads } from "./Threads";
import { useSession } from "./fox/connection";

/** Asks for a name once, and then shows threads, messages and who is there. */
export function Chat() {
  const [name, setName] = useState(() => sessionStorage.getItem("name") ?? "");
  const [thread, setThread] = useState("hall");
  const session = useSession();
  useEffect(() => sessionStorage.setItem("name", name), [name]);
  if (name === "") return <Login onName={setName} />;
  return (
    <div className="chat">
      <header>
        <h1>Chat</h1>
        <p role="status" className={session ? "online" : "offline"}>
          {session ? `${name}, online` : "No connection. Trying again …"}
        </p>
      </header>
      <nav aria-label="Threads">
        <Threads name={name} selected={thread} onSelect={setThread} />
        <People name={name} />
        <Moderator name={name} />
      </nav>
      <main>
        <Messages key={thread} thread={thread} name={name} />
      </main>
    </div>
  );
}

function Login({ onName }: { onName: (name: string) => void }) {
  const enter = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const name = String(new FormData(event.currentTarget).get("name")).trim();
    if (name !== "") onName(name);
  };
  return (
    <form className="login" onSubmit={enter}>
      <h1>Chat</h1>
      <label>
        Your name <input name="name" maxLength={40} autoFocus required />
      </label>
      <button>Enter</button>
    </form>
  );
}
