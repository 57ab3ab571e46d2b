// Package notify delivers the notices that call customers to the confirmation
// page. Log is for a service without a gateway; Recorder stands in for the SMS
// gateway in a demonstration.
package notify
