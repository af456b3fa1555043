/** Starts the viewer on the page. */

import { App } from "./app";
import "./style.css";

void new App(document.getElementById("app")!).start();
