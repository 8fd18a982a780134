import "./app.js";
import "./fleet.js";
import "./new_task.js";
import "./environment.js";
import "./notifications.js";
import "./modules.js";
import "htmx-ext-sse";
