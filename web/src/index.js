import "./app.js";
import "./new_task.js";
import "htmx-ext-sse";
