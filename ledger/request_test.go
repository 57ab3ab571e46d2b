package ledger_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"tweetledger/ledger"
)

var (
	marie = uuid.MustParse("22222222-2222-4222-8222-222222222222")
	yoann = uuid.MustParse("33333333-3333-4333-8333-333333333333")
	thing = uuid.MustParse("44444444-4444-4444-8444-444444444444") // a hold or a transaction
)

// What fields of text take, and what not.
var (
	badTexts = map[string]string{"empty": "", "NUL": "a\x00b", "line break": "a\nb", "tab": "a\tb", "right-to-left override": "a\u202eb",
		"zero width space": "a\u200bb", "byte order mark": "\ufeffa", "line separator": "a\u2028b", "broken UTF-8": "a\xc3"}
	badJournals = map[string]string{"empty": "", "lower case": "vir", "accent": "VÉR", "long": "VIREMENTS", "space": "V R", "line break": "VIR\n"}
	badMetadata = map[string]struct {
		m     map[string]string
		field string
	}{
		"empty key":      {map[string]string{"": "v"}, "metadata"},
		"capital in key": {map[string]string{"Rail": "v"}, "metadata"},
		"digit first":    {map[string]string{"1a": "v"}, "metadata"},
		"long key":       {map[string]string{strings.Repeat("k", ledger.MaxMetadataKey+1): "v"}, "metadata"},
		"long value":     {map[string]string{"k": strings.Repeat("v", ledger.MaxMetadataValue+1)}, "metadata.k"},
		"control value":  {map[string]string{"k": "a\x1bb"}, "metadata.k"},
		"many keys":      {manyKeys(ledger.MaxMetadataKeys + 1), "metadata"},
	}
	badSources = map[string]struct {
		s     ledger.Source
		field string
	}{
		"id without channel":  {ledger.Source{ID: "1"}, "source.channel"},
		"channel without id":  {ledger.Source{Channel: "twitter"}, "source.id"},
		"capital in channel":  {ledger.Source{Channel: "Twitter", ID: "1"}, "source.channel"},
		"long channel":        {ledger.Source{Channel: strings.Repeat("c", ledger.MaxSourceChannel+1), ID: "1"}, "source.channel"},
		"long id":             {ledger.Source{Channel: "bank", ID: strings.Repeat("1", ledger.MaxSourceID+1)}, "source.id"},
		"control character":   {ledger.Source{Channel: "bank", ID: "1\r"}, "source.id"},
		"30 February":         {ledger.Source{Channel: "bank", ID: "1", Date: day(2026, 2, 30)}, "source.date"},
		"date of its own, no": {ledger.Source{Date: day(2026, 13, 1)}, "source.date"},
	}
	badDates = map[string]ledger.Date{"30 February": day(2026, 2, 30), "month 13": day(2026, 13, 1), "day 0": day(2026, 1, 0),
		"year 0": day(0, 1, 1), "year 10000": day(10_000, 1, 1), "negative": day(-1, 1, 1), "29 February 2026": day(2026, 2, 29)}
)

func manyKeys(n int) map[string]string {
	m := map[string]string{}
	for i := range n {
		m[fmt.Sprintf("k%d", i)] = "v"
	}
	return m
}

func transfer() ledger.PostRequest {
	return ledger.PostRequest{Key: "twitter:1", Journal: ledger.JournalTransfers, Label: "Transfer", EffectiveDate: day(2014, 10, 14),
		Source:   ledger.Source{Channel: "twitter", ID: "1", Date: day(2014, 10, 14)},
		Metadata: map[string]string{"rail": "tweet", "order": "7"},
		Postings: []ledger.Posting{
			{Debit: marie, Credit: yoann, Amount: 1299, Currency: ledger.EUR},
			{Debit: yoann, Credit: marie, Amount: 1, Currency: ledger.EUR},
		}}
}

func hold() ledger.HoldRequest {
	return ledger.HoldRequest{Key: "twitter:1", Debit: marie, Credit: yoann, Amount: 1299, Currency: ledger.EUR,
		ExpiresAt: time.Date(2014, 10, 14, 8, 0, 0, 1000, time.UTC), Source: ledger.Source{Channel: "twitter", ID: "1", Date: day(2014, 10, 14)}}
}

func postHold() ledger.PostHoldRequest {
	return ledger.PostHoldRequest{Key: "k", HoldID: thing, Amount: 100, Journal: ledger.JournalTransfers, Label: "Transfer",
		EffectiveDate: day(2014, 10, 14), Metadata: map[string]string{"rail": "tweet"}}
}

func voidHold() ledger.VoidHoldRequest { return ledger.VoidHoldRequest{Key: "k", HoldID: thing} }

func reverse() ledger.ReverseRequest {
	return ledger.ReverseRequest{Key: "k", TransactionID: thing, Label: "Wrong payee", EffectiveDate: day(2014, 10, 14),
		Metadata: map[string]string{"ticket": "12"}}
}

func conditional() ledger.PostRequest {
	r := transfer()
	r.Conditions = []ledger.Condition{{AccountID: marie, Version: new(int64(3)), Balance: amount(-5)}, {AccountID: yoann, Balance: amount(0)},
		{AccountID: thing, Version: new(int64(0))}}
	return r
}

func adjusting() ledger.PostRequest {
	r := conditional()
	r.Adjustment = true
	return r
}

func partial() ledger.ReverseRequest {
	r := reverse()
	r.Postings = []int{0, 2, ledger.MaxPostings - 1}
	return r
}

func TestRequestsAreValid(t *testing.T) {
	edge := transfer()
	edge.Key, edge.Label = strings.Repeat("k", ledger.MaxKey), strings.Repeat("l", ledger.MaxLabel)
	edge.Journal, edge.EffectiveDate, edge.Source = "ABCDEF12", ledger.Date{}, ledger.Source{}
	edge.Metadata = manyKeys(ledger.MaxMetadataKeys)
	edge.Metadata["k0"], edge.Metadata["k1"] = strings.Repeat("v", ledger.MaxMetadataValue), ""
	for len(edge.Postings) < ledger.MaxPostings {
		edge.Postings = append(edge.Postings, edge.Postings[0])
	}
	bare := hold()
	bare.ExpiresAt, bare.Source = time.Time{}, ledger.Source{}
	all := postHold()
	all.Amount, all.Metadata, all.EffectiveDate = 0, nil, ledger.Date{}
	for name, r := range map[string]ledger.Request{"transfer": transfer(), "at the bounds": edge, "hold": hold(), "bare hold": bare,
		"post hold": postHold(), "post all of a hold": all, "void": voidHold(), "reverse": reverse(),
		"conditional": conditional(), "adjustment": adjusting(), "reverse of some postings": partial()} {
		wantField(t, name, r.Validate(), "")
		if r.IdempotencyKey() == "" {
			t.Errorf("%s: no key", name)
		}
	}
}

func TestPostingsAreChecked(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(p *ledger.Posting)
		field  string
	}{
		{"no debit", func(p *ledger.Posting) { p.Debit = uuid.Nil }, "debit"},
		{"no credit", func(p *ledger.Posting) { p.Credit = uuid.Nil }, "credit"},
		{"one account", func(p *ledger.Posting) { p.Credit = p.Debit }, "credit"},
		{"zero", func(p *ledger.Posting) { p.Amount = 0 }, "amount"},
		{"negative", func(p *ledger.Posting) { p.Amount = -1 }, "amount"},
		{"no currency", func(p *ledger.Posting) { p.Currency = "" }, "currency"},
		{"unknown currency", func(p *ledger.Posting) { p.Currency = "ECU" }, "currency"},
	} {
		post := transfer()
		c.change(&post.Postings[1])
		wantField(t, "post: "+c.name, post.Validate(), "postings[1]."+c.field)

		h := hold()
		p := ledger.Posting{Debit: h.Debit, Credit: h.Credit, Amount: h.Amount, Currency: h.Currency}
		c.change(&p)
		h.Debit, h.Credit, h.Amount, h.Currency = p.Debit, p.Credit, p.Amount, p.Currency
		wantField(t, "hold: "+c.name, h.Validate(), c.field)
	}
	post := transfer()
	post.Postings = nil
	wantField(t, "no postings", post.Validate(), "postings")
	post.Postings = make([]ledger.Posting, ledger.MaxPostings+1)
	wantField(t, "many postings", post.Validate(), "postings")
}

// Each request checks each field that it has, and names it.
func TestRequestFieldsAreChecked(t *testing.T) {
	keys := map[string]string{"long": strings.Repeat("k", ledger.MaxKey+1)}
	labels := map[string]string{"long": strings.Repeat("é", ledger.MaxLabel/2+1)}
	for name, text := range badTexts {
		keys[name], labels[name] = text, text
	}
	for name, key := range keys {
		post, held, posted, void, rev := transfer(), hold(), postHold(), voidHold(), reverse()
		post.Key, held.Key, posted.Key, void.Key, rev.Key = key, key, key, key, key
		for _, r := range []ledger.Request{post, held, posted, void, rev} {
			wantField(t, fmt.Sprintf("%T: key: %s", r, name), r.Validate(), "key")
		}
	}
	for name, label := range labels {
		post, posted, rev := transfer(), postHold(), reverse()
		post.Label, posted.Label, rev.Label = label, label, label
		for _, r := range []ledger.Request{post, posted, rev} {
			wantField(t, fmt.Sprintf("%T: label: %s", r, name), r.Validate(), "label")
		}
	}
	for name, journal := range badJournals {
		post, posted := transfer(), postHold()
		post.Journal, posted.Journal = journal, journal
		wantField(t, "post: journal: "+name, post.Validate(), "journal")
		wantField(t, "post hold: journal: "+name, posted.Validate(), "journal")
	}
	for name, bad := range badMetadata {
		post, posted, rev := transfer(), postHold(), reverse()
		post.Metadata, posted.Metadata, rev.Metadata = bad.m, bad.m, bad.m
		for _, r := range []ledger.Request{post, posted, rev} {
			wantField(t, fmt.Sprintf("%T: metadata: %s", r, name), r.Validate(), bad.field)
		}
	}
	for name, date := range badDates {
		post, posted, rev := transfer(), postHold(), reverse()
		post.EffectiveDate, posted.EffectiveDate, rev.EffectiveDate = date, date, date
		for _, r := range []ledger.Request{post, posted, rev} {
			wantField(t, fmt.Sprintf("%T: date: %s", r, name), r.Validate(), "effective_date")
		}
	}
	for name, bad := range badSources {
		post, held := transfer(), hold()
		post.Source, held.Source = bad.s, bad.s
		wantField(t, "post: source: "+name, post.Validate(), bad.field)
		wantField(t, "hold: source: "+name, held.Validate(), bad.field)
	}
}

func TestHoldRequestsAreChecked(t *testing.T) {
	held := hold()
	held.ExpiresAt = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)
	wantField(t, "expires too late to write down", held.Validate(), "expires_at")
	held.ExpiresAt = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	wantField(t, "expired before Christ", held.Validate(), "expires_at")

	posted := postHold()
	posted.HoldID = uuid.Nil
	wantField(t, "no hold to post", posted.Validate(), "hold_id")
	posted = postHold()
	posted.Amount = -1
	wantField(t, "negative part of a hold", posted.Validate(), "amount")
	void := voidHold()
	void.HoldID = uuid.Nil
	wantField(t, "no hold to void", void.Validate(), "hold_id")
	rev := reverse()
	rev.TransactionID = uuid.Nil
	wantField(t, "nothing to reverse", rev.Validate(), "transaction_id")
}

// Nobody takes the key under which a hold will expire, but the one who lets it expire.
func TestExpiryKeysAreReserved(t *testing.T) {
	void := voidHold()
	key := ledger.ExpiryKey(void.HoldID)
	void.Key, void.Expired = key, true
	wantField(t, "expiry", void.Validate(), "")
	void.Expired = false
	wantField(t, "void under the key of an expiry", void.Validate(), "key")
	void.Expired, void.HoldID = true, uuid.New()
	wantField(t, "expiry of another hold", void.Validate(), "key")
	post, held, rev, part := transfer(), hold(), reverse(), postHold()
	post.Key, held.Key, rev.Key, part.Key = key, key, key, key
	for name, r := range map[string]ledger.Request{"transfer": post, "hold": held, "reversal": rev, "part of a hold": part} {
		wantField(t, name+" under the key of an expiry", r.Validate(), "key")
	}
}

// The ids are part of every book's format: a change would make every key look
// new, and every system account.
func TestIDsAreForEver(t *testing.T) {
	for key, want := range map[string]string{
		"twitter:521911467483230208": "1bdec0e0-b8d3-53be-bf4b-a4af3aa2f688",
		"a":                          "6b4e718f-d98a-5526-93d8-78f3221a3e87",
		"é 1":                        "58f40eb8-5f45-5ce5-9dc2-466fd949d0c4",
	} {
		if got := ledger.IDOfKey(key).String(); got != want {
			t.Errorf("the id of key %q is %s, want %s", key, got, want)
		}
	}
	for code, want := range map[string]string{
		"safeguarding-account": "e6f086d3-5bd2-5ba9-a96f-ceec87eaa19a",
		"payouts-in-transit":   "b5f38ea7-9fce-5b08-ad85-d55395c5c759",
	} {
		if got := ledger.SystemAccountID(code).String(); got != want {
			t.Errorf("the id of account %s is %s, want %s", code, got, want)
		}
	}
}
