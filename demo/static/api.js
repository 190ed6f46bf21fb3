/** The demo's own endpoints. What happens is never read from their answers: it comes back by the stream, as for everyone. */

/** Something that wasn't done: `message` is for people, `fields` names the form fields that are off. */
export class NotDone extends Error {
  constructor(message, fields = {}, status = 0) {
    super(message);
    this.fields = fields;
    this.status = status;
  }
}

/** Ask the server for something: `act("reply", {…})`. Throws NotDone. */
export async function act(action, body) {
  let response;
  try {
    response = await fetch(`/api/${action}`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
  } catch {
    throw new NotDone("The server can't be reached. Your text is kept: try again in a moment.");
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  const { message = `The server answered ${response.status}.`, fields = {} } = answer.error ?? {};
  throw new NotDone(message, fields, response.status);
}
