package ledger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// MaxRequestJSON bounds a request in JSON, in bytes. MaxPostings take about 160
// KiB; the rest is for indentation.
const MaxRequestJSON = 1 << 20

// The values of "type", and so the kinds of request.
const (
	typePost     = "post"
	typeHold     = "hold"
	typePostHold = "post_hold"
	typeVoidHold = "void_hold"
	typeReverse  = "reverse"
)

// DecodeRequest reads a request from JSON: an object with "type" (post, hold,
// post_hold, void_hold or reverse) and the request's fields in lower case with
// underscores, such as "effective_date".
//
// Money is text, so that no reader takes it for a floating-point number: "amount"
// is in major units and stands beside its "currency" ("12.50", "EUR"); where the
// request has no currency, the name says minor units ("amount_minor": "1250").
// Dates are "2026-01-31", instants RFC 3339.
//
// Nothing is guessed: unknown and repeated fields, null, and documents above
// MaxRequestJSON are refused. The request is validated too. The error is an Error
// that names the field by its path ("postings[2].amount"), with CodeInvalid, or
// CodeOverflow for an amount above 64 bits.
func DecodeRequest(data []byte) (Request, error) {
	o, err := readJSON(data, MaxRequestJSON)
	if err != nil {
		return nil, err
	}
	o.need("type")
	var r Request
	switch kind := o.text("type"); kind {
	case typePost:
		r = decodePost(o)
	case typeHold:
		r = decodeHold(o)
	case typePostHold:
		r = decodePostHold(o)
	case typeVoidHold:
		o.need("key", "hold_id")
		r = VoidHoldRequest{Key: o.text("key"), HoldID: o.id("hold_id"), Expired: o.flag("expired")}
	case typeReverse:
		r = decodeReverse(o)
	default:
		o.refuse("type", "%q is not a type of request; use %s", Clip(kind),
			strings.Join([]string{typePost, typeHold, typePostHold, typeVoidHold, typeReverse}, ", "))
	}
	o.done()
	if o.document.err != nil {
		return nil, o.document.err
	}
	if err := r.Validate(); err != nil {
		return nil, err
	}
	return r, nil
}

func decodePost(o *jsonObject) Request {
	o.need("key", "journal", "label", "postings")
	r := PostRequest{Key: o.text("key"), Journal: o.text("journal"), Label: o.text("label"), EffectiveDate: o.date("effective_date"),
		Source: o.source(), Metadata: o.metadata(), Adjustment: o.flag("adjustment")}
	for _, p := range o.children("postings", MaxPostings) {
		p.need("debit", "credit", "amount", "currency")
		posting := Posting{Debit: p.id("debit"), Credit: p.id("credit")}
		posting.Amount, posting.Currency = p.money()
		p.done()
		r.Postings = append(r.Postings, posting)
	}
	for _, c := range o.children("conditions", MaxConditions) {
		c.need("account_id")
		condition := Condition{AccountID: c.id("account_id"), Balance: c.minor("balance_minor")}
		if version, ok := c.integer("version"); ok {
			condition.Version = &version
		}
		c.done()
		r.Conditions = append(r.Conditions, condition)
	}
	return r
}

func decodeHold(o *jsonObject) Request {
	o.need("key", "debit", "credit", "amount", "currency")
	r := HoldRequest{Key: o.text("key"), Debit: o.id("debit"), Credit: o.id("credit"), ExpiresAt: o.instant("expires_at"), Source: o.source()}
	r.Amount, r.Currency = o.money()
	return r
}

func decodePostHold(o *jsonObject) Request {
	o.need("key", "hold_id", "journal", "label")
	r := PostHoldRequest{Key: o.text("key"), HoldID: o.id("hold_id"), ReleaseRest: o.flag("release_rest"), Journal: o.text("journal"),
		Label: o.text("label"), EffectiveDate: o.date("effective_date"), Metadata: o.metadata(), Adjustment: o.flag("adjustment")}
	if amount := o.minor("amount_minor"); amount != nil {
		// A 0 that someone computed must not post everything.
		if *amount <= 0 {
			o.refuse("amount_minor", "the amount must be above zero, not %d; leave it out to post all that remains", int64(*amount))
		}
		r.Amount = *amount
	}
	return r
}

func decodeReverse(o *jsonObject) Request {
	o.need("key", "transaction_id", "label")
	return ReverseRequest{Key: o.text("key"), TransactionID: o.id("transaction_id"), Postings: o.integers("postings", MaxPostings, MaxPostings),
		Label: o.text("label"), EffectiveDate: o.date("effective_date"), Metadata: o.metadata(), Adjustment: o.flag("adjustment")}
}

// money takes "amount" and "currency".
func (o *jsonObject) money() (Amount, Currency) {
	text, currency := o.text("amount"), Currency(o.text("currency"))
	if !currency.Known() {
		o.refuse("currency", "%q is not an ISO 4217 currency code", Clip(string(currency)))
		return 0, ""
	}
	amount, err := ParseAmount(text, currency)
	if err != nil {
		o.adopt("amount", err)
	}
	return amount, currency
}

// minor takes an amount in minor units; nil where it is left out.
func (o *jsonObject) minor(name string) *Amount {
	text, ok := taken[string](o, name, "an amount in text, in minor units")
	if !ok {
		return nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != text {
		o.refuse(name, "%q is not an amount in minor units; write 12.50 EUR as 1250", Clip(text))
		return nil
	}
	return (*Amount)(&n)
}

func (o *jsonObject) source() Source {
	s := o.child("source")
	defer s.done()
	return Source{Channel: s.text("channel"), ID: s.text("id"), Date: s.date("date")}
}

// metadata takes the texts of "metadata"; nil where there are none.
func (o *jsonObject) metadata() map[string]string {
	m := o.child("metadata")
	if m == nil || len(m.order) == 0 {
		return nil
	}
	metadata := make(map[string]string, len(m.order))
	for _, key := range m.order {
		metadata[key] = m.text(key)
	}
	return metadata
}

// requestJSON is a request of any type in JSON.
type requestJSON struct {
	Type          string            `json:"type"`
	Key           string            `json:"key"`
	HoldID        uuid.UUID         `json:"hold_id,omitzero"`
	TransactionID uuid.UUID         `json:"transaction_id,omitzero"`
	Debit         uuid.UUID         `json:"debit,omitzero"`
	Credit        uuid.UUID         `json:"credit,omitzero"`
	Amount        string            `json:"amount,omitempty"`
	Currency      Currency          `json:"currency,omitempty"`
	AmountMinor   string            `json:"amount_minor,omitempty"`
	ReleaseRest   bool              `json:"release_rest,omitempty"`
	Expired       bool              `json:"expired,omitempty"`
	ExpiresAt     string            `json:"expires_at,omitempty"`
	Journal       string            `json:"journal,omitempty"`
	Label         string            `json:"label,omitempty"`
	EffectiveDate Date              `json:"effective_date,omitzero"`
	Source        Source            `json:"source,omitzero"`
	Metadata      map[string]string `json:"metadata,omitempty"`
	Postings      any               `json:"postings,omitempty"` // []postingJSON, or []int of a reversal
	Conditions    []conditionJSON   `json:"conditions,omitempty"`
	Adjustment    bool              `json:"adjustment,omitempty"`
}

type postingJSON struct {
	Debit    uuid.UUID `json:"debit"`
	Credit   uuid.UUID `json:"credit"`
	Amount   string    `json:"amount"`
	Currency Currency  `json:"currency"`
}

type conditionJSON struct {
	AccountID uuid.UUID `json:"account_id"`
	Version   *int64    `json:"version,omitempty"`
	Balance   *string   `json:"balance_minor,omitempty"`
}

// EncodeRequest writes a valid request as DecodeRequest reads it, in one line.
func EncodeRequest(r Request) ([]byte, error) {
	if r == nil {
		return nil, Errorf(CodeInvalid, "there is no request to write")
	}
	if err := r.Validate(); err != nil {
		return nil, err
	}
	var doc requestJSON
	switch r := r.(type) {
	case PostRequest:
		doc = encodePost(r)
	case HoldRequest:
		doc = requestJSON{Type: typeHold, Debit: r.Debit, Credit: r.Credit, Amount: r.Amount.Format(r.Currency), Currency: r.Currency, Source: r.Source}
		if !r.ExpiresAt.IsZero() {
			doc.ExpiresAt = r.ExpiresAt.UTC().Truncate(time.Microsecond).Format(time.RFC3339Nano)
		}
	case PostHoldRequest:
		doc = requestJSON{Type: typePostHold, HoldID: r.HoldID, ReleaseRest: r.ReleaseRest, Journal: r.Journal, Label: r.Label,
			EffectiveDate: r.EffectiveDate, Metadata: r.Metadata, Adjustment: r.Adjustment}
		if r.Amount != 0 {
			doc.AmountMinor = strconv.FormatInt(int64(r.Amount), 10)
		}
	case VoidHoldRequest:
		doc = requestJSON{Type: typeVoidHold, HoldID: r.HoldID, Expired: r.Expired}
	case ReverseRequest:
		doc = requestJSON{Type: typeReverse, TransactionID: r.TransactionID, Label: r.Label, EffectiveDate: r.EffectiveDate,
			Metadata: r.Metadata, Adjustment: r.Adjustment}
		if len(r.Postings) > 0 {
			doc.Postings = r.Postings
		}
	default:
		return nil, Errorf(CodeInvalid, "a %T has no form in JSON", r)
	}
	doc.Key = r.IdempotencyKey()
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(doc); err != nil {
		return nil, fmt.Errorf("write a request: %w", err)
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), nil
}

func encodePost(r PostRequest) requestJSON {
	postings := make([]postingJSON, len(r.Postings))
	for i, p := range r.Postings {
		postings[i] = postingJSON{p.Debit, p.Credit, p.Amount.Format(p.Currency), p.Currency}
	}
	conditions := make([]conditionJSON, len(r.Conditions))
	for i, c := range r.Conditions {
		conditions[i] = conditionJSON{AccountID: c.AccountID, Version: c.Version}
		if c.Balance != nil {
			conditions[i].Balance = new(strconv.FormatInt(int64(*c.Balance), 10))
		}
	}
	return requestJSON{Type: typePost, Journal: r.Journal, Label: r.Label, EffectiveDate: r.EffectiveDate, Source: r.Source,
		Metadata: r.Metadata, Postings: postings, Conditions: conditions, Adjustment: r.Adjustment}
}
