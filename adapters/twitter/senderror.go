package twitter

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"tweetledger/internal/payments"
)

// ourPause is how long nothing is sent where X takes nothing from us at all, so that
// what waits is not given up before somebody has mended that.
const ourPause = 5 * time.Minute

// sendError makes a *payments.SendError of X's refusal to send. An answer of 5xx says
// not whether it was sent. Any other error stays as it is: in doubt.
func sendError(err error) error {
	if isOurs(err) {
		return &payments.SendError{RetryAfter: ourPause, Err: err}
	}
	refused, ok := errors.AsType[*APIError](err)
	if !ok {
		return err
	}
	return &payments.SendError{Permanent: permanent(refused.Status), RetryAfter: refused.RetryAfter,
		InDoubt: refused.Status >= http.StatusInternalServerError, Gone: isGone(refused), Err: err}
}

// lookError says that X does not tell whether something was sent.
func lookError(out payments.Outgoing, err error) error {
	e := &payments.SendError{InDoubt: true, Err: fmt.Errorf("whether outbox row %s was sent is not known: %w", out.ID, err)}
	refused, ok := errors.AsType[*APIError](err)
	switch {
	case isOurs(err):
		e.RetryAfter = ourPause
	case ok:
		e.RetryAfter = refused.RetryAfter
	}
	return e
}

// isOurs reports whether a request failed for what we are, not for what it asks: there
// is no token, or X takes none of it (401), the credits are used up (402), or the app has
// lost its access (403 of these types). A person has to mend that, and then all that
// waits can be sent.
func isOurs(err error) bool {
	if _, ok := errors.AsType[*tokenError](err); ok {
		return true
	}
	refused, ok := errors.AsType[*APIError](err)
	if !ok {
		return false
	}
	switch refused.Status {
	case http.StatusUnauthorized, http.StatusPaymentRequired:
		return true
	case http.StatusForbidden:
		for _, kind := range []string{"/client-forbidden", "/unsupported-authentication", "/oauth1-permissions", "/usage-capped"} {
			if strings.HasSuffix(refused.Problem.Type, kind) {
				return true
			}
		}
	}
	return false
}

// permanent reports whether X will refuse the same for ever.
func permanent(status int) bool {
	return status == http.StatusBadRequest || status == http.StatusForbidden || status == http.StatusNotFound
}
