import "./app.js";
import "htmx-ext-sse";
