import "./app.js";
import "./fleet.js";
import "./new_task.js";
import "./environment.js";
import "./notifications.js";
import "htmx-ext-sse";
