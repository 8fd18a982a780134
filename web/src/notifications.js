// The page "Notifications": this device, by its browser's push service.
const UNREACHED = "The push service of this browser was not reached, so it cannot be notified now. Try again later, "
  + "or be told at an address of your own, below.";
const place = document.querySelector("[data-device]");

function deviceName() {
  const agent = navigator.userAgent;
  const browser = /Edg\//.test(agent) ? "Edge" : /Firefox\//.test(agent) ? "Firefox" : /Chrom(e|ium)\//.test(agent) ? "Chrome" : /Safari\//.test(agent) ? "Safari" : "A browser";
  const system = /Android/.test(agent) ? "Android" : /iPhone|iPad/.test(agent) ? "iOS" : /Windows/.test(agent) ? "Windows" : /Mac OS/.test(agent) ? "macOS" : /Linux/.test(agent) ? "Linux" : "this device";
  return `${browser} on ${system}`;
}

function toBytes(text) {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (each) => each.charCodeAt(0));
}

async function call(path, fields) {
  const key = document.querySelector("meta[name=page-key]")?.content;
  const headers = { "Content-Type": "application/json", ...(key && { "X-Cloister-Page-Key": key }) };
  const answer = await fetch(path, fields ? { method: "POST", headers, body: JSON.stringify(fields) } : { headers });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.detail || `the server answered ${answer.status}`);
  return said;
}

async function subscribe() {
  if (await Notification.requestPermission() !== "granted") {
    throw new Error("This browser does not allow it; change that in its settings for this site.");
  }
  const registration = await navigator.serviceWorker.ready;
  const { key } = await call("/api/v1/notifications/key");
  const applicationServerKey = toBytes(key);
  await (await registration.pushManager.getSubscription())?.unsubscribe();
  const made = await registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey })
    .then((subscription) => subscription.toJSON(), (error) => { throw new Error(`${UNREACHED} (It said: ${error.message})`); });
  await call("/api/v1/notifications/devices", {
    endpoint: made.endpoint, p256dh: made.keys.p256dh, auth: made.keys.auth, label: deviceName(),
  });
}

async function offer() {
  const said = place.querySelector("[data-device-said]");
  const button = place.querySelector("[data-device-add]");
  if (!window.isSecureContext || !("serviceWorker" in navigator) || !("PushManager" in window)) {
    said.textContent = "This browser cannot be notified here: it takes HTTPS, and on an iPhone this site on the home screen.";
    return;
  }
  const registration = await navigator.serviceWorker.register("/service-worker.js");
  const known = await registration.pushManager.getSubscription();
  said.textContent = known ? "This device has been added; to add it anew does no harm." : `This is ${deviceName()}.`;
  button.hidden = false;
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await subscribe();
      location.assign("/notifications");
    } catch (error) {
      said.textContent = error.message;
      button.disabled = false;
    }
  });
}

if (place) offer();
