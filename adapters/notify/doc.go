// Package notify delivers the notices that call customers to the confirmation
// page: Webhook hands them to an SMS provider or a bridge to one, SMTP to a mail
// server, Log writes that somebody would have been called. Recorder stands in for
// a gateway in a demonstration.
//
// A sink tries once and says how it went: pauses, further tries and giving up are
// the outbox's (internal/payments). What a sink says of a failure stands in the log
// and in the outbox for staff to read, so it holds no number, no address and no link:
// never what a provider wrote, since providers repeat what they were sent.
package notify
