// Shows what the server tells of tasks, and leads to their pages. It keeps nothing, and answers for no page.
function pathOf(text) {
  return typeof text === "string" && /^\/(?![/\\])[\x21-\x7e]*$/.test(text) ? text : "/";
}

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("push", (event) => {
  let told = {};
  try {
    told = event.data.json();
  } catch {
    // what cannot be read is told of all the same: a browser takes the permission from who shows nothing
  }
  const path = pathOf(told.path);
  event.waitUntil(self.registration.showNotification(String(told.title || "Cloister"), {
    body: String(told.body || ""),
    tag: path,
    renotify: true,
    data: { path },
  }));
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const url = new URL(pathOf(event.notification.data?.path), self.location.origin).href;
  event.waitUntil((async () => {
    const windows = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
    const open = windows.find((each) => each.url === url);
    await (open ? open.focus() : self.clients.openWindow(url));
  })());
});

async function call(path, fields) {
  const { page_key: key } = await (await fetch("/api/v1/sessions/current")).json();
  const headers = { "Content-Type": "application/json", ...(key && { "X-Cloister-Page-Key": key }) };
  return fetch(path, { method: "POST", headers, body: JSON.stringify(fields) });
}

// A browser may change where it is reached. Whoever is not logged in then adds the device anew.
self.addEventListener("pushsubscriptionchange", (event) => {
  const options = event.oldSubscription?.options;
  if (!event.newSubscription && !options) return;
  event.waitUntil((async () => {
    const made = (event.newSubscription ?? await self.registration.pushManager.subscribe(options)).toJSON();
    await call("/api/v1/notifications/devices", {
      endpoint: made.endpoint, p256dh: made.keys.p256dh, auth: made.keys.auth,
      replaces: event.oldSubscription?.endpoint ?? "",
    });
  })());
});
