package ledger_test

import (
	"encoding/hex"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"tweetledger/ledger"
)

// Hashes are stored with what was posted, and compared with those of requests
// that are repeated years later: they are part of the format too.
func TestHashesAreForEver(t *testing.T) {
	for _, c := range []struct {
		name string
		r    ledger.Request
		want string
	}{
		{"post", transfer(), goldenPost},
		{"hold", hold(), goldenHold},
		{"post hold", postHold(), goldenPostHold},
		{"void", voidHold(), goldenVoidHold},
		{"reverse", reverse(), goldenReverse},
		{"conditional post", conditional(), goldenConditional},
		{"adjusting post", adjusting(), goldenAdjusting},
		{"reverse of some postings", partial(), goldenPartial},
	} {
		hash := c.r.Hash()
		if got := hex.EncodeToString(hash[:]); got != c.want {
			t.Errorf("%s: the hash is %s, want %s", c.name, got, c.want)
		}
	}
}

const (
	goldenPost     = "25b254e74d145cee5484b1d7a28ffeb5e52368a5d7610c955432fb2ca2eb93c9"
	goldenHold     = "23a0e6cbc775f09ce706c6e873e2792a22a078bf928070eb937291eec50787dd"
	goldenPostHold = "db6e3626deddce04934d38568febe69f074c11faaba4c7582a5b131f792333a1"
	goldenVoidHold = "63f411096f57b561b24721ca72cba2cbed738468d0ef015834d9737d162ab2c8"
	goldenReverse  = "0707e24c3acc29ff6a9c07c696683152e2e2ed4fbb559cbf1ccbaf8180d35b2a"

	goldenConditional = "00b40b131bc44e94f9ab1da7f91c04cf713230f7673abb8fa13b380ec90534b5"
	goldenAdjusting   = "1a962084362761159ce625e3e18d1aede63930910ac2e651a3a19fae0ddb077d"
	goldenPartial     = "fc528be24fc737eef0a3e946653d875b330139599b6843d3b7c0df0a7f23d9ed"
)

// changes are all ways to change one field of a request. The key is none: it is
// what the hash is stored under.
var changes = []struct {
	name   string
	change func(rt *rapid.T) (before, after ledger.Request)
}{
	{"post: journal", func(rt *rapid.T) (ledger.Request, ledger.Request) {
		a := drawPost(rt)
		b := a
		b.Journal = other(rt, a.Journal)
		return a, b
	}},
	{"post: label", func(rt *rapid.T) (ledger.Request, ledger.Request) {
		a := drawPost(rt)
		b := a
		b.Label = other(rt, a.Label)
		return a, b
	}},
	{"post: effective date", func(rt *rapid.T) (ledger.Request, ledger.Request) {
		a := drawPost(rt)
		b := a
		b.EffectiveDate = otherDate(rt, a.EffectiveDate)
		return a, b
	}},
	{"post: source", func(rt *rapid.T) (ledger.Request, ledger.Request) {
		a := drawPost(rt)
		b := a
		b.Source = otherSource(rt, a.Source)
		return a, b
	}},
	{"post: metadata", func(rt *rapid.T) (ledger.Request, ledger.Request) {
		a := drawPost(rt)
		b := a
		b.Metadata = otherMetadata(rt, a.Metadata)
		return a, b
	}},
	{"post: one posting", func(rt *rapid.T) (ledger.Request, ledger.Request) {
		a := drawPost(rt)
		b := a
		b.Postings = slices.Clone(a.Postings)
		i := rapid.IntRange(0, len(b.Postings)-1).Draw(rt, "which")
		b.Postings[i] = otherPosting(rt, b.Postings[i])
		return a, b
	}},
	{"post: one posting less", func(rt *rapid.T) (ledger.Request, ledger.Request) {
		a := drawPost(rt)
		b := a
		b.Postings = a.Postings[1:]
		return a, b
	}},
	{"post: order of postings", func(rt *rapid.T) (ledger.Request, ledger.Request) {
		a := drawPost(rt)
		b := a
		b.Postings = append(slices.Clone(a.Postings[1:]), otherPosting(rt, a.Postings[0]))
		a.Postings = append(slices.Clone(b.Postings[len(b.Postings)-1:]), b.Postings[:len(b.Postings)-1]...)
		if slices.Equal(a.Postings, b.Postings) {
			rt.Skip("all alike")
		}
		return a, b
	}},
	{"post: conditions", func(rt *rapid.T) (ledger.Request, ledger.Request) {
		a := drawPost(rt)
		a.Conditions = rapid.SliceOfN(rapid.Custom(drawCondition), 1, 3).Draw(rt, "conditions")
		b := a
		b.Conditions = slices.Clone(a.Conditions)
		i := rapid.IntRange(0, len(b.Conditions)-1).Draw(rt, "which")
		switch c := &b.Conditions[i]; rapid.IntRange(0, 5).Draw(rt, "how") {
		case 0:
			c.AccountID = otherID(rt, c.AccountID)
		case 1:
			c.Version, c.Balance = (*int64)(c.Balance), (*ledger.Amount)(c.Version)
			if reflect.DeepEqual(a, b) {
				rt.Skip("both alike")
			}
		case 2:
			*c = otherCondition(rt, *c)
		case 3:
			b.Conditions = slices.Delete(b.Conditions, i, i+1)
		case 4:
			b.Conditions = append(b.Conditions, drawCondition(rt))
		default:
			b.Conditions = nil
		}
		return a, b
	}},
	{"post: adjustment", func(rt *rapid.T) (ledger.Request, ledger.Request) {
		a := drawPost(rt)
		a.Conditions = rapid.SliceOfN(rapid.Custom(drawCondition), 0, 2).Draw(rt, "conditions")
		b := a
		b.Adjustment = true
		return a, b
	}},
	{"hold: posting", func(rt *rapid.T) (ledger.Request, ledger.Request) {
		a := drawHold(rt)
		p := otherPosting(rt, ledger.Posting{Debit: a.Debit, Credit: a.Credit, Amount: a.Amount, Currency: a.Currency})
		b := a
		b.Debit, b.Credit, b.Amount, b.Currency = p.Debit, p.Credit, p.Amount, p.Currency
		return a, b
	}},
	{"hold: source", func(rt *rapid.T) (ledger.Request, ledger.Request) {
		a := drawHold(rt)
		b := a
		b.Source = otherSource(rt, a.Source)
		return a, b
	}},
	{"hold: expiry", func(rt *rapid.T) (ledger.Request, ledger.Request) {
		a := drawHold(rt)
		b := a
		b.ExpiresAt = time.UnixMicro(a.ExpiresAt.UnixMicro() + rapid.Int64Range(1, 1<<40).Draw(rt, "later")).UTC()
		return a, b
	}},
	{"hold: no expiry", func(rt *rapid.T) (ledger.Request, ledger.Request) {
		a := drawHold(rt)
		a.ExpiresAt = rapid.SampledFrom([]time.Time{time.UnixMicro(0), time.UnixMicro(-1), a.ExpiresAt}).Draw(rt, "expiry")
		b := a
		b.ExpiresAt = time.Time{}
		return a, b
	}},
	{"post hold: any field", func(rt *rapid.T) (ledger.Request, ledger.Request) {
		a := ledger.PostHoldRequest{HoldID: drawID(rt), Amount: drawAmount(rt, "amount"), ReleaseRest: rapid.Bool().Draw(rt, "rest"),
			Journal: drawText(rt), Label: drawText(rt), EffectiveDate: drawDate(rt, "date"), Metadata: drawMetadata(rt)}
		b := a
		switch rapid.IntRange(0, 7).Draw(rt, "field") {
		case 0:
			b.HoldID = otherID(rt, a.HoldID)
		case 1:
			b.Amount = a.Amount ^ ledger.Amount(rapid.Int64Range(1, 1<<62).Draw(rt, "flip"))
		case 2:
			b.ReleaseRest = !a.ReleaseRest
		case 3:
			b.Journal = other(rt, a.Journal)
		case 4:
			b.Label = other(rt, a.Label)
		case 5:
			b.EffectiveDate = otherDate(rt, a.EffectiveDate)
		case 6:
			b.Metadata = otherMetadata(rt, a.Metadata)
		case 7:
			b.Adjustment = true
		}
		return a, b
	}},
	{"void: any field", func(rt *rapid.T) (ledger.Request, ledger.Request) {
		a := ledger.VoidHoldRequest{HoldID: drawID(rt), Expired: rapid.Bool().Draw(rt, "expired")}
		b := a
		if rapid.Bool().Draw(rt, "field") {
			b.HoldID = otherID(rt, a.HoldID)
		} else {
			b.Expired = !a.Expired
		}
		return a, b
	}},
	{"reverse: any field", func(rt *rapid.T) (ledger.Request, ledger.Request) {
		a := ledger.ReverseRequest{TransactionID: drawID(rt), Label: drawText(rt), EffectiveDate: drawDate(rt, "date"), Metadata: drawMetadata(rt),
			Postings: rapid.SliceOfN(rapid.IntRange(0, 9), 0, 3).Draw(rt, "postings")}
		b := a
		switch rapid.IntRange(0, 6).Draw(rt, "field") {
		case 0:
			b.TransactionID = otherID(rt, a.TransactionID)
		case 1:
			b.Label = other(rt, a.Label)
		case 2:
			b.EffectiveDate = otherDate(rt, a.EffectiveDate)
		case 3:
			b.Metadata = otherMetadata(rt, a.Metadata)
		case 4:
			b.Postings = append(slices.Clone(a.Postings), rapid.IntRange(0, 9).Draw(rt, "one more"))
		case 5:
			if len(a.Postings) == 0 {
				rt.Skip("the whole")
			}
			b.Postings = slices.Clone(a.Postings)
			b.Postings[0] += rapid.IntRange(1, 9).Draw(rt, "another")
		case 6:
			b.Adjustment = true
		}
		return a, b
	}},
}

func TestAnyChangeOfAFieldChangesTheHash(t *testing.T) {
	for _, c := range changes {
		t.Run(c.name, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				a, b := c.change(rt)
				if a.Hash() == b.Hash() {
					rt.Fatalf("one hash for\n%+v\n%+v", a, b)
				}
				if first := a.Hash(); first != a.Hash() {
					rt.Fatalf("two hashes for %+v", a)
				}
			})
		})
	}
}

// Moving text from the end of one field to the start of the next must not go
// unseen.
func TestFieldsDoNotRunTogether(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := []byte(rapid.StringN(2, 40, -1).Draw(rt, "text"))
		i := rapid.IntRange(0, len(text)).Draw(rt, "cut")
		j := rapid.IntRange(0, len(text)).Draw(rt, "other cut")
		if i == j {
			rt.Skip("the same cut")
		}
		left, right := func(n int) string { return string(text[:n]) }, func(n int) string { return string(text[n:]) }
		for name, make := range map[string]func(n int) ledger.Request{
			"journal and label": func(n int) ledger.Request { return ledger.PostRequest{Journal: left(n), Label: right(n)} },
			"channel and id": func(n int) ledger.Request {
				return ledger.PostRequest{Source: ledger.Source{Channel: left(n), ID: right(n)}}
			},
			"key and value": func(n int) ledger.Request {
				return ledger.PostRequest{Metadata: map[string]string{left(n): right(n)}}
			},
			"source of a hold": func(n int) ledger.Request {
				return ledger.HoldRequest{Source: ledger.Source{Channel: left(n), ID: right(n)}}
			},
			"journal and label of a hold": func(n int) ledger.Request { return ledger.PostHoldRequest{Journal: left(n), Label: right(n)} },
		} {
			if make(i).Hash() == make(j).Hash() {
				rt.Fatalf("%s: %q cut at %d and at %d has one hash", name, text, i, j)
			}
		}
	})
}

func TestOrderOfMetadataDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a := drawPost(rt)
		b := a
		b.Metadata = map[string]string{}
		for _, key := range rapid.Permutation(slices.Sorted(maps.Keys(a.Metadata))).Draw(rt, "order") {
			b.Metadata[key] = a.Metadata[key]
		}
		if a.Hash() != b.Hash() {
			rt.Fatalf("%v and %v", a.Metadata, b.Metadata)
		}
	})
	none, empty := transfer(), transfer()
	none.Metadata, empty.Metadata = nil, map[string]string{}
	if none.Hash() != empty.Hash() {
		t.Error("no metadata and empty metadata are two requests")
	}
}

// What the book does not keep cannot tell two requests apart.
func TestHashOfAnInstantIsToTheMicrosecondInAnyZone(t *testing.T) {
	a, b := hold(), hold()
	b.ExpiresAt = a.ExpiresAt.Add(999 * time.Nanosecond).In(paris(t))
	if a.Hash() != b.Hash() {
		t.Errorf("%s and %s", a.ExpiresAt, b.ExpiresAt)
	}
}

func TestKindsOfRequestDoNotShareHashes(t *testing.T) {
	seen := map[[32]byte]ledger.Request{}
	for _, r := range []ledger.Request{ledger.PostRequest{}, ledger.HoldRequest{}, ledger.PostHoldRequest{}, ledger.VoidHoldRequest{}, ledger.ReverseRequest{}} {
		if before, ok := seen[r.Hash()]; ok {
			t.Errorf("%T and %T", before, r)
		}
		seen[r.Hash()] = r
	}
}

func drawText(rt *rapid.T) string { return rapid.StringN(0, 12, -1).Draw(rt, "text") }

func drawID(rt *rapid.T) uuid.UUID {
	return uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(rt, "id"))
}

func drawMetadata(rt *rapid.T) map[string]string {
	return rapid.MapOfN(rapid.StringN(0, 5, -1), rapid.StringN(0, 5, -1), 0, 5).Draw(rt, "metadata")
}

func drawPosting(rt *rapid.T) ledger.Posting {
	return ledger.Posting{Debit: drawID(rt), Credit: drawID(rt), Amount: drawAmount(rt, "amount"), Currency: ledger.Currency(drawText(rt))}
}

func drawPost(rt *rapid.T) ledger.PostRequest {
	return ledger.PostRequest{Key: drawText(rt), Journal: drawText(rt), Label: drawText(rt), EffectiveDate: drawDate(rt, "date"),
		Source:   ledger.Source{Channel: drawText(rt), ID: drawText(rt), Date: drawDate(rt, "source date")},
		Metadata: drawMetadata(rt), Postings: rapid.SliceOfN(rapid.Custom(drawPosting), 1, 4).Draw(rt, "postings")}
}

func drawCondition(rt *rapid.T) ledger.Condition {
	c := ledger.Condition{AccountID: drawID(rt)}
	if rapid.Bool().Draw(rt, "has version") {
		c.Version = new(rapid.Int64().Draw(rt, "version"))
	}
	if rapid.Bool().Draw(rt, "has balance") {
		c.Balance = new(drawAmount(rt, "balance"))
	}
	return c
}

// otherCondition changes, adds or removes the version or the balance.
func otherCondition(rt *rapid.T, c ledger.Condition) ledger.Condition {
	flip := rapid.Int64Range(1, 1<<62).Draw(rt, "flip")
	switch how := rapid.IntRange(0, 3).Draw(rt, "part"); {
	case how == 0 && c.Version != nil:
		c.Version = new(*c.Version ^ flip)
	case how == 1 && c.Balance != nil:
		c.Balance = new(*c.Balance ^ ledger.Amount(flip))
	case how == 2 && c.Version != nil:
		c.Version = nil
	case how == 3 && c.Balance != nil:
		c.Balance = nil
	case how%2 == 0:
		c.Version = new(flip)
	default:
		c.Balance = new(ledger.Amount(flip))
	}
	return c
}

func drawHold(rt *rapid.T) ledger.HoldRequest {
	p := drawPosting(rt)
	return ledger.HoldRequest{Key: drawText(rt), Debit: p.Debit, Credit: p.Credit, Amount: p.Amount, Currency: p.Currency,
		ExpiresAt: time.UnixMicro(rapid.Int64Range(0, 1<<50).Draw(rt, "expiry")).UTC(),
		Source:    ledger.Source{Channel: drawText(rt), ID: drawText(rt), Date: drawDate(rt, "source date")}}
}

func other(rt *rapid.T, s string) string {
	return rapid.StringN(0, 12, -1).Filter(func(o string) bool { return o != s }).Draw(rt, "other")
}

func otherDate(rt *rapid.T, d ledger.Date) ledger.Date {
	if rapid.Bool().Draw(rt, "no date") {
		return ledger.Date{}
	}
	return d.AddDays(rapid.SampledFrom([]int{-366, -1, 1, 30}).Draw(rt, "days"))
}

func otherID(rt *rapid.T, id uuid.UUID) uuid.UUID {
	id[rapid.IntRange(0, 15).Draw(rt, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
	return id
}

func otherSource(rt *rapid.T, s ledger.Source) ledger.Source {
	switch rapid.IntRange(0, 2).Draw(rt, "field") {
	case 0:
		s.Channel = other(rt, s.Channel)
	case 1:
		s.ID = other(rt, s.ID)
	default:
		s.Date = otherDate(rt, s.Date)
	}
	return s
}

func otherMetadata(rt *rapid.T, m map[string]string) map[string]string {
	changed := maps.Clone(m)
	keys := slices.Sorted(maps.Keys(m))
	kind := rapid.SampledFrom([]string{"add", "remove", "value", "key"}).Draw(rt, "kind")
	if len(keys) == 0 || kind == "add" {
		changed[rapid.StringN(6, 8, -1).Draw(rt, "new key")] = drawText(rt)
		return changed
	}
	key := rapid.SampledFrom(keys).Draw(rt, "which")
	switch kind {
	case "value":
		changed[key] = other(rt, m[key])
	case "key":
		delete(changed, key)
		changed[rapid.StringN(6, 8, -1).Draw(rt, "new key")] = m[key]
	default:
		delete(changed, key)
	}
	return changed
}

func otherPosting(rt *rapid.T, p ledger.Posting) ledger.Posting {
	switch rapid.IntRange(0, 4).Draw(rt, "part") {
	case 0:
		p.Debit = otherID(rt, p.Debit)
	case 1:
		p.Credit = otherID(rt, p.Credit)
	case 2:
		p.Amount ^= ledger.Amount(rapid.Int64Range(1, 1<<62).Draw(rt, "flip"))
	case 3:
		p.Currency = ledger.Currency(other(rt, string(p.Currency)))
	default:
		if p.Debit == p.Credit {
			rt.Skip("one account")
		}
		p.Debit, p.Credit = p.Credit, p.Debit
	}
	return p
}
