// The Space's own API, called as any other program may call it.

const API = "gradio_api";

export class Refusal extends Error {}

/** Upload a file or blob; the result names it in later calls. */
export async function upload(blob, name) {
  const form = new FormData();
  form.append("files", blob, name);
  const answer = await reach(`${API}/upload`, { method: "POST", body: form });
  if (answer.status === 413) throw new Refusal("This file is larger than 20 MB. Save it smaller, or as PNG or JPEG.");
  if (!answer.ok) throw new Refusal(`The file could not be sent (${answer.status}).`);
  const [path] = await answer.json();
  return { path, orig_name: name, meta: { _type: "gradio.FileData" } };
}

/** Call an endpoint with named arguments; resolves to what it returns. */
export async function call(endpoint, named) {
  const answer = await reach(`${API}/call/v2/${endpoint}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(named),
  });
  if (answer.status === 503) throw new Refusal("Many people are colouring just now. Try again in a moment.");
  if (!answer.ok) throw new Refusal(`The server did not take the request (${answer.status}).`);
  const { event_id: id } = await answer.json();
  return outcome(`${API}/call/${endpoint}/${id}`);
}

function outcome(address) {
  return new Promise((resolve, reject) => {
    const events = new EventSource(address);
    const end = (settle) => (events.close(), settle());
    events.addEventListener("complete", (event) => end(() => resolve(JSON.parse(event.data)[0])));
    events.addEventListener("error", (event) => {
      const lost = "The connection was lost. Try again.";
      const message = event.data ? JSON.parse(event.data)?.error || "The server could not do this." : lost;
      end(() => reject(new Refusal(message)));
    });
  });
}

async function reach(address, request) {
  try {
    return await fetch(address, request);
  } catch {
    throw new Refusal("The server cannot be reached. Is the connection there?");
  }
}
