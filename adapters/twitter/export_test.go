package twitter

import (
	"encoding/json"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// DecodeEvent makes a message of one event of the stream, {"data": {…},
// "includes": {…}}. An event that is no post, or one that lacks id, author or
// text, is an Error with CodeInvalid.
func DecodeEvent(raw []byte, via string) (payments.Message, error) {
	var e event
	if err := json.Unmarshal(raw, &e); err != nil {
		return payments.Message{}, jsonError("the event", err)
	}
	if isNull(e.Data) {
		return payments.Message{}, ledger.Errorf(ledger.CodeInvalid, "the event has no data").InField("data")
	}
	return e.message(via)
}
