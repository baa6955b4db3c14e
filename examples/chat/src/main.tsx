import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { Chat } from "./Chat";
import { FoxProvider } from "./fox/connection";
import "./style.css";

const { protocol, host } = window.location;
const url = `${protocol === "https:" ? "wss" : "ws"}://${host}/live`;

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <FoxProvider url={url} realm="chat">
      <Chat />
    </FoxProvider>
  </StrictMode>,
);
