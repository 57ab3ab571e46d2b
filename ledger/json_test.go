package ledger_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"tweetledger/ledger"
)

// requestTexts are requests and how they are written.
var requestTexts = []struct {
	name string
	r    ledger.Request
	text string
}{
	{"post", adjusting(), `{"type":"post","key":"twitter:1","journal":"VIR","label":"Transfer","effective_date":"2014-10-14",` +
		`"source":{"channel":"twitter","id":"1","date":"2014-10-14"},"metadata":{"order":"7","rail":"tweet"},"postings":[` +
		`{"debit":"22222222-2222-4222-8222-222222222222","credit":"33333333-3333-4333-8333-333333333333","amount":"12.99","currency":"EUR"},` +
		`{"debit":"33333333-3333-4333-8333-333333333333","credit":"22222222-2222-4222-8222-222222222222","amount":"0.01","currency":"EUR"}],` +
		`"conditions":[{"account_id":"22222222-2222-4222-8222-222222222222","version":3,"balance_minor":"-5"},` +
		`{"account_id":"33333333-3333-4333-8333-333333333333","balance_minor":"0"},` +
		`{"account_id":"44444444-4444-4444-8444-444444444444","version":0}],"adjustment":true}`},
	{"hold", hold(), `{"type":"hold","key":"twitter:1","debit":"22222222-2222-4222-8222-222222222222","credit":"33333333-3333-4333-8333-333333333333",` +
		`"amount":"12.99","currency":"EUR","expires_at":"2014-10-14T08:00:00.000001Z","source":{"channel":"twitter","id":"1","date":"2014-10-14"}}`},
	{"hold without end", ledger.HoldRequest{Key: "<&>", Debit: marie, Credit: yoann, Amount: 5, Currency: "JPY"},
		`{"type":"hold","key":"<&>","debit":"22222222-2222-4222-8222-222222222222","credit":"33333333-3333-4333-8333-333333333333","amount":"5","currency":"JPY"}`},
	{"post hold", postHold(), `{"type":"post_hold","key":"k","hold_id":"44444444-4444-4444-8444-444444444444","amount_minor":"100","journal":"VIR",` +
		`"label":"Transfer","effective_date":"2014-10-14","metadata":{"rail":"tweet"}}`},
	{"post all of a hold", ledger.PostHoldRequest{Key: "k", HoldID: thing, ReleaseRest: true, Journal: "VIR", Label: "é", Adjustment: true},
		`{"type":"post_hold","key":"k","hold_id":"44444444-4444-4444-8444-444444444444","release_rest":true,"journal":"VIR","label":"é","adjustment":true}`},
	{"void", voidHold(), `{"type":"void_hold","key":"k","hold_id":"44444444-4444-4444-8444-444444444444"}`},
	{"expire", ledger.VoidHoldRequest{Key: "k", HoldID: thing, Expired: true},
		`{"type":"void_hold","key":"k","hold_id":"44444444-4444-4444-8444-444444444444","expired":true}`},
	{"reverse", reverse(), `{"type":"reverse","key":"k","transaction_id":"44444444-4444-4444-8444-444444444444","label":"Wrong payee",` +
		`"effective_date":"2014-10-14","metadata":{"ticket":"12"}}`},
	{"reverse some", ledger.ReverseRequest{Key: "k", TransactionID: thing, Postings: []int{0, 2, 999}, Label: "l", Adjustment: true},
		`{"type":"reverse","key":"k","transaction_id":"44444444-4444-4444-8444-444444444444","label":"l","postings":[0,2,999],"adjustment":true}`},
}

func TestRequestsInJSON(t *testing.T) {
	for _, c := range requestTexts {
		text, err := ledger.EncodeRequest(c.r)
		if err != nil || string(text) != c.text {
			t.Errorf("%s: got %s, %v, want %s", c.name, text, err, c.text)
		}
		back, err := ledger.DecodeRequest([]byte(c.text))
		if err != nil || !reflect.DeepEqual(back, c.r) {
			t.Errorf("%s: reads as %+v, %v", c.name, back, err)
		}
	}
}

// drawValid draws requests that Validate accepts.
func drawValid(rt *rapid.T) ledger.Request {
	word := rapid.StringMatching(`[a-zA-Z0-9é€😀<>&"\\/' -]{1,12}`)
	someDay := rapid.Custom(func(rt *rapid.T) ledger.Date {
		if rapid.Bool().Draw(rt, "no date") {
			return ledger.Date{}
		}
		return ledger.MinEffectiveDate.AddDays(rapid.IntRange(0, 109_572).Draw(rt, "days"))
	})
	currency := rapid.SampledFrom([]ledger.Currency{"EUR", "JPY", "TND"})
	positive := rapid.Custom(func(rt *rapid.T) ledger.Amount {
		return ledger.Amount(rapid.Int64Range(1, math.MaxInt64).Draw(rt, "minor"))
	})
	source := rapid.Custom(func(rt *rapid.T) ledger.Source {
		if rapid.Bool().Draw(rt, "no source") {
			return ledger.Source{}
		}
		return ledger.Source{Channel: "bank", ID: word.Draw(rt, "source"), Date: someDay.Draw(rt, "source date")}
	})
	var metadata map[string]string
	if drawn := rapid.MapOfN(rapid.StringMatching(`[a-z][a-z0-9_.-]{0,5}`), rapid.OneOf(rapid.Just(""), word), 0, 4).Draw(rt, "metadata"); len(drawn) > 0 {
		metadata = drawn
	}
	key, journal, label, date, adjustment := word.Draw(rt, "key"), rapid.StringMatching(`[A-Z0-9]{1,8}`).Draw(rt, "journal"), word.Draw(rt, "label"),
		someDay.Draw(rt, "date"), rapid.Bool().Draw(rt, "adjustment")
	switch rapid.IntRange(0, 4).Draw(rt, "type") {
	case 0:
		r := ledger.PostRequest{Key: key, Journal: journal, Label: label, EffectiveDate: date, Source: source.Draw(rt, "source"), Metadata: metadata, Adjustment: adjustment}
		for range rapid.IntRange(1, 3).Draw(rt, "postings") {
			r.Postings = append(r.Postings, ledger.Posting{Debit: uuid.UUID{1}, Credit: drawTagged(rt), Amount: positive.Draw(rt, "amount"), Currency: currency.Draw(rt, "currency")})
		}
		for i := range rapid.IntRange(0, 2).Draw(rt, "conditions") {
			c := ledger.Condition{AccountID: uuid.UUID{byte(i), 15: 1}, Version: new(rapid.Int64Range(0, math.MaxInt64).Draw(rt, "version"))}
			if rapid.Bool().Draw(rt, "balance") {
				c.Balance = new(ledger.Amount(rapid.Int64().Draw(rt, "minor")))
			}
			r.Conditions = append(r.Conditions, c)
		}
		return r
	case 1:
		r := ledger.HoldRequest{Key: key, Debit: uuid.UUID{1}, Credit: drawTagged(rt), Amount: positive.Draw(rt, "amount"), Currency: currency.Draw(rt, "currency"), Source: source.Draw(rt, "source")}
		if rapid.Bool().Draw(rt, "expires") {
			r.ExpiresAt = time.UnixMicro(rapid.Int64Range(-62_135_596_799_999_999, 253_402_300_799_999_999).Draw(rt, "expiry")).UTC()
		}
		return r
	case 2:
		return ledger.PostHoldRequest{Key: key, HoldID: thing, Amount: ledger.Amount(rapid.Int64Range(0, math.MaxInt64).Draw(rt, "amount")),
			ReleaseRest: rapid.Bool().Draw(rt, "rest"), Journal: journal, Label: label, EffectiveDate: date, Metadata: metadata, Adjustment: adjustment}
	case 3:
		return ledger.VoidHoldRequest{Key: key, HoldID: thing, Expired: rapid.Bool().Draw(rt, "expired")}
	default:
		r := ledger.ReverseRequest{Key: key, TransactionID: thing, Label: label, EffectiveDate: date, Metadata: metadata, Adjustment: adjustment}
		r.Postings = append(r.Postings, rapid.SliceOfNDistinct(rapid.IntRange(0, ledger.MaxPostings-1), 0, 3, rapid.ID).Draw(rt, "postings")...)
		slices.Sort(r.Postings)
		return r
	}
}

// drawTagged draws an account that is not the one of the other side.
func drawTagged(rt *rapid.T) uuid.UUID {
	id := drawID(rt)
	id[0] = 2
	return id
}

func TestRequestsComeBackFromJSON(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := drawValid(rt)
		text, err := ledger.EncodeRequest(r)
		if err != nil {
			rt.Fatalf("%+v: %v", r, err)
		}
		if back, err := ledger.DecodeRequest(text); err != nil || !reflect.DeepEqual(back, r) || back.Hash() != r.Hash() {
			rt.Fatalf("%s reads as %+v, %v; want %+v", text, back, err, r)
		}
	})
}

// Each of these is one change of a good request.
func TestRequestsAreReadStrictly(t *testing.T) {
	texts := map[string]string{}
	for _, c := range requestTexts {
		texts[c.name] = c.text
	}
	for _, c := range []struct{ request, old, new, field string }{
		{"post", `"type":"post",`, ``, "type"},
		{"post", `"type":"post"`, `"type":"transfer"`, "type"},
		{"post", `"type":"post"`, `"type":"Post"`, "type"},
		{"post", `"type":"post"`, `"type":"hold"`, "debit"},
		{"post", `"type":"post"`, `"type":7`, "type"},
		{"post", `"key":"twitter:1",`, ``, "key"},
		{"post", `"key":"twitter:1"`, `"key":""`, "key"},
		{"post", `"key":"twitter:1"`, `"key":"a","key":"b"`, "key"},
		{"post", `"key":"twitter:1"`, `"key":"a\u0000"`, "key"},
		{"post", `"key"`, `"Key"`, "key"},
		{"post", `"label":"Transfer"`, `"label":"Transfer","note":""`, "note"},
		{"post", `"label":"Transfer"`, `"label":null`, "label"},
		{"post", `"label":"Transfer"`, `"label":["Transfer"]`, "label"},
		{"post", `"2014-10-14","source"`, `"2014-02-30","source"`, "effective_date"},
		{"post", `"2014-10-14","source"`, `"1899-12-31","source"`, "effective_date"},
		{"post", `"2014-10-14","source"`, `"","source"`, "effective_date"},
		{"post", `"channel":"twitter"`, `"channel":"Twitter"`, "source.channel"},
		{"post", `"channel":"twitter"`, `"channel":"twitter","handle":""`, "source.handle"},
		{"post", `"date":"2014-10-14"`, `"date":"2014-13-01"`, "source.date"},
		{"post", `"source":{`, `"source":[],"x":{`, "source"},
		{"post", `"order":"7"`, `"order":7`, "metadata.order"},
		{"post", `"order":"7"`, `"order":{}`, "metadata.order"},
		{"post", `"order":"7"`, `"order":"7","order":"8"`, "metadata.order"},
		{"post", `"order":"7"`, `"Order":"7"`, "metadata"},
		{"post", `"order":"7"`, `"\u0000":7`, "metadata"},
		{"post", `"postings":[`, `"postings":[7,`, "postings[0]"},
		{"post", `"postings":[`, `"postings":[{},`, "postings[0].debit"},
		{"post", `"postings":[`, `"postings":[],"conditions":[`, "conditions"},
		{"post", `"postings":[`, `"postings":[` + strings.Repeat("{},", ledger.MaxPostings), "postings"},
		{"post", `{"debit":"2222`, `{"debit":"g222`, "postings[0].debit"},
		{"post", `"debit":"33333333-3333-4333-8333-333333333333"`, `"debit":"33333333333343338333333333333333"`, "postings[1].debit"},
		{"post", `"debit":"33333333-3333-4333-8333-333333333333"`, `"debit":"{33333333-3333-4333-8333-333333333333}"`, "postings[1].debit"},
		{"post", `"debit":"33333333-3333-4333-8333-333333333333"`, `"debit":"00000000-0000-0000-0000-000000000000"`, "postings[1].debit"},
		{"post", `"amount":"0.01"`, `"amount":0.01`, "postings[1].amount"},
		{"post", `"amount":"0.01"`, `"amount":"0.001"`, "postings[1].amount"},
		{"post", `"amount":"0.01"`, `"amount":"1e1"`, "postings[1].amount"},
		{"post", `"amount":"0.01"`, `"amount":"0"`, "postings[1].amount"},
		{"post", `"amount":"0.01"`, `"amount":"-1"`, "postings[1].amount"},
		{"post", `"amount":"0.01"`, `"amount":"0,01"`, "postings[1].amount"},
		{"post", `"amount":"0.01"`, `"amount":""`, "postings[1].amount"},
		{"post", `"0.01","currency":"EUR"`, `"0.01","currency":"eur"`, "postings[1].currency"},
		{"post", `"0.01","currency":"EUR"`, `"0.01"`, "postings[1].currency"},
		{"post", `"0.01","currency":"EUR"`, `"0.01","currency":"EUR","reverses":{}`, "postings[1].reverses"},
		{"post", `"version":3`, `"version":"3"`, "conditions[0].version"},
		{"post", `"version":3`, `"version":3.0`, "conditions[0].version"},
		{"post", `"version":3`, `"version":-3`, "conditions[0].version"},
		{"post", `"version":3`, `"version":9223372036854775808`, "conditions[0].version"},
		{"post", `"balance_minor":"-5"`, `"balance_minor":-5`, "conditions[0].balance_minor"},
		{"post", `"balance_minor":"-5"`, `"balance_minor":"-0"`, "conditions[0].balance_minor"},
		{"post", `"balance_minor":"-5"`, `"balance_minor":"05"`, "conditions[0].balance_minor"},
		{"post", `"balance_minor":"-5"`, `"balance_minor":"0.5"`, "conditions[0].balance_minor"},
		{"post", `"balance_minor":"-5"`, `"balance":"5"`, "conditions[0].balance"},
		{"post", `,"balance_minor":"0"`, ``, "conditions[1]"},
		{"post", `"account_id":"4444`, `"account_id":"4`, "conditions[2].account_id"},
		{"post", `"adjustment":true`, `"adjustment":1`, "adjustment"},
		{"post", `"adjustment":true`, `"adjustment":"true"`, "adjustment"},
		{"hold", `"12.99"`, `12.99`, "amount"},
		{"hold", `"currency":"EUR",`, ``, "currency"},
		{"hold", `08:00:00.000001Z`, `08:00:00.0000001Z`, "expires_at"},
		{"hold", `08:00:00.000001Z`, `08:00:00`, "expires_at"},
		{"hold", `08:00:00.000001Z`, `8:00:00Z`, "expires_at"},
		{"hold", `08:00:00.000001Z`, `08:00:00,5Z`, "expires_at"},
		{"hold", `08:00:00.000001Z`, `08:00:60Z`, "expires_at"},
		{"hold", `08:00:00.000001Z`, `08:00:00+25:00`, "expires_at"},
		{"hold", `2014-10-14T08:00:00.000001Z`, `0001-01-01T00:00:00Z`, "expires_at"},
		{"hold", `2014-10-14T08:00:00.000001Z`, `9999-12-31T23:59:59-01:00`, "expires_at"},
		{"hold", `"expires_at"`, `"journal":"VIR","expires_at"`, "journal"},
		{"post hold", `"amount_minor":"100"`, `"amount_minor":"0"`, "amount_minor"},
		{"post hold", `"amount_minor":"100"`, `"amount_minor":"-1"`, "amount_minor"},
		{"post hold", `"amount_minor":"100"`, `"amount_minor":"9223372036854775808"`, "amount_minor"},
		{"post hold", `"amount_minor":"100"`, `"amount":"1.00"`, "amount"},
		{"post hold", `"hold_id"`, `"id"`, "hold_id"},
		{"void", `"void_hold",`, `"void_hold","label":"x",`, "label"},
		{"reverse some", `[0,2,999]`, `[0,2,1000]`, "postings[2]"},
		{"reverse some", `[0,2,999]`, `[0,-1]`, "postings[1]"},
		{"reverse some", `[0,2,999]`, `[0,1.0]`, "postings[1]"},
		{"reverse some", `[0,2,999]`, `[0,"1"]`, "postings[1]"},
		{"reverse some", `[0,2,999]`, `[2,0]`, "postings[1]"},
		{"reverse some", `[0,2,999]`, `0`, "postings"},
		{"reverse some", `"transaction_id"`, `"hold_id"`, "transaction_id"},
	} {
		name := fmt.Sprintf("%s with %.60s for %s", c.request, c.new, c.old)
		text := strings.Replace(texts[c.request], c.old, c.new, 1)
		if text == texts[c.request] {
			t.Fatalf("%s: there is nothing to replace", name)
		}
		r, err := ledger.DecodeRequest([]byte(text))
		wantField(t, name, err, c.field)
		if r != nil {
			t.Errorf("%s reads as %+v", name, r)
		}
	}
	_, err := ledger.DecodeRequest([]byte(strings.Replace(texts["hold"], `"12.99"`, `"92233720368547758.08"`, 1)))
	if e, ok := errors.AsType[*ledger.Error](err); !ok || e.Code != ledger.CodeOverflow || e.Field != "amount" {
		t.Errorf("an amount above 64 bits: %v", err)
	}
}

// What is at the bounds of a request also fits in its document, indented too.
func TestGreatestRequestFitsInJSON(t *testing.T) {
	r := transfer()
	r.Key, r.Label = strings.Repeat("é", ledger.MaxKey/2), strings.Repeat("\"", ledger.MaxLabel)
	r.Metadata, r.Conditions, r.Postings = map[string]string{}, conditions(ledger.MaxConditions), nil
	for i := range ledger.MaxMetadataKeys {
		r.Metadata[strings.Repeat(string(rune('a'+i)), ledger.MaxMetadataKey)] = strings.Repeat("\\", ledger.MaxMetadataValue)
	}
	for range ledger.MaxPostings {
		r.Postings = append(r.Postings, ledger.Posting{Debit: marie, Credit: yoann, Amount: math.MaxInt64, Currency: ledger.EUR})
	}
	text, err := ledger.EncodeRequest(r)
	if err != nil {
		t.Fatal(err)
	}
	var document any
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	indented, err := json.MarshalIndent(document, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if back, err := ledger.DecodeRequest(indented); err != nil || !reflect.DeepEqual(back, ledger.Request(r)) {
		t.Errorf("%d bytes: %v", len(indented), err)
	}
	if _, err := ledger.DecodeRequest(append(text, make([]byte, ledger.MaxRequestJSON)...)); ledger.CodeOf(err) != ledger.CodeInvalid {
		t.Errorf("a document that is too long: %v", err)
	}
}

// strange is a request that no document stands for.
type strange struct{ ledger.VoidHoldRequest }

func TestRequestsThatAreNotWritten(t *testing.T) {
	bad := transfer()
	bad.Postings[0].Currency = "ECU"
	for name, r := range map[string]ledger.Request{"nothing": nil, "not valid": bad, "of another type": strange{voidHold()}} {
		if text, err := ledger.EncodeRequest(r); ledger.CodeOf(err) != ledger.CodeInvalid || text != nil {
			t.Errorf("%s: %s, %v", name, text, err)
		}
	}
}

func FuzzDecodeRequest(f *testing.F) {
	for _, c := range requestTexts {
		f.Add([]byte(c.text))
	}
	f.Add([]byte(`{"type":"void_hold","key":"\ud83d\ude00","hold_id":"44444444-4444-4444-8444-444444444444"} `))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := ledger.DecodeRequest(text)
		if err != nil {
			refused(t, err)
			return
		}
		again, err := ledger.EncodeRequest(r)
		if err != nil {
			t.Fatalf("%s cannot be written again: %v", text, err)
		}
		back, err := ledger.DecodeRequest(again)
		if err != nil || !reflect.DeepEqual(back, r) || back.Hash() != r.Hash() {
			t.Fatalf("%s reads as %+v and again as %+v, %v", text, r, back, err)
		}
	})
}

// refused checks that err is a refusal that can be shown.
func refused(t *testing.T, err error) {
	t.Helper()
	e, ok := errors.AsType[*ledger.Error](err)
	if !ok || e.Code != ledger.CodeInvalid && e.Code != ledger.CodeOverflow || len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\n\r\x00") {
		t.Fatalf("%q is not one clear refusal", err)
	}
}

func FuzzMetadata(f *testing.F) {
	f.Add("order", "7", "rail", "tweet")
	f.Add("a.b-c_9", "", "a", "é\u200b")
	f.Add("Order", "\x00", "", "\xc3")
	f.Fuzz(func(t *testing.T, key, value, otherKey, otherValue string) {
		r := reverse()
		r.Metadata = map[string]string{key: value, otherKey: otherValue}
		text, err := ledger.EncodeRequest(r)
		if invalid := r.Validate(); (invalid == nil) != (err == nil) {
			t.Fatalf("%q is valid: %v, and written: %v", r.Metadata, invalid, err)
		}
		if err == nil {
			back, err := ledger.DecodeRequest(text)
			if err != nil || !reflect.DeepEqual(back, ledger.Request(r)) || back.Hash() != r.Hash() {
				t.Fatalf("%q: %s reads as %+v, %v", r.Metadata, text, back, err)
			}
			return
		}
		refused(t, err)
		// What is not valid must not come in by way of a document either.
		document, err := json.Marshal(map[string]any{"type": "reverse", "key": r.Key, "transaction_id": r.TransactionID, "label": r.Label, "metadata": r.Metadata})
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ledger.DecodeRequest(document); err == nil && reflect.DeepEqual(back.(ledger.ReverseRequest).Metadata, r.Metadata) {
			t.Fatalf("%q is not valid and came in as %s", r.Metadata, document)
		}
	})
}
