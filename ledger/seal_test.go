package ledger_test

import (
	"encoding/hex"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"tweetledger/ledger"
)

// entry is a transaction with something in each field.
func entry() ledger.Transaction {
	post := transfer()
	return ledger.Transaction{ID: ledger.IDOfKey(post.Key), Key: post.Key, Journal: post.Journal, Label: "Café", EffectiveDate: post.EffectiveDate,
		RecordedAt: time.Date(2014, 10, 14, 8, 0, 0, 123_456_000, time.UTC), Source: post.Source, Metadata: post.Metadata,
		Reverses: thing, HoldID: marie,
		Postings: []ledger.Posting{
			{Debit: yoann, Credit: marie, Amount: 1299, Currency: ledger.EUR, Reverses: ledger.PostingRef{TransactionID: thing, Ordinal: 2}},
			{Debit: marie, Credit: yoann, Amount: 1, Currency: ledger.EUR},
		}}
}

func hexText(hash [32]byte) string { return hex.EncodeToString(hash[:]) }

// Seals are published: a change of the format would make every book look forged.
func TestSealsAreForEver(t *testing.T) {
	first := ledger.EntryHash("VIR", 2014, 1, entry())
	second := ledger.EntryHash("VIR", 2014, 2, ledger.Transaction{})
	start := ledger.ChainStart("VIR", 2014)
	for _, c := range []struct {
		name string
		got  [32]byte
		want string
	}{
		{"entry", first, "884d3e2c5da9f3804827ef49664c2bd20e4ed76500053ec8d95ccfdc49ecbcb5"},
		{"empty entry", second, "e757a0a04514435ff7eeff38981638290e7cf376211eeea1e5d9f88a447c53cd"},
		{"start", start, "7abf7c65212c515b93affaeeb29240aeae90ebac323025abd911106ac34e8d8b"},
		{"link", ledger.NextLink(start, first), "078401a36acb3e53efebe46472758d28bbbbcf76a1933bd2b63ed1836a77d8bd"},
		{"chain of two", ledger.ChainLink(start, first, second), "96623e022eeedb670a7ca902a849b173f55a748f70ff0122b130f8fdd7b8e1e1"},
	} {
		if hexText(c.got) != c.want {
			t.Errorf("%s: got %s, want %s", c.name, hexText(c.got), c.want)
		}
	}
}

// drawEntry draws a transaction that need not be valid: what Verify meets is what
// someone has written, not what the engine took.
func drawEntry(rt *rapid.T) ledger.Transaction {
	return ledger.Transaction{ID: drawID(rt), Key: drawText(rt), Journal: drawText(rt), Label: drawText(rt), EffectiveDate: drawDate(rt, "date"),
		RecordedAt: time.UnixMicro(rapid.Int64Range(0, 1<<50).Draw(rt, "recorded")).UTC(),
		Source:     ledger.Source{Channel: drawText(rt), ID: drawText(rt), Date: drawDate(rt, "source date")},
		Metadata:   drawMetadata(rt), Reverses: drawID(rt), HoldID: drawID(rt),
		Postings: rapid.SliceOfN(rapid.Custom(drawLinkedPosting), 1, 4).Draw(rt, "postings")}
}

func drawLinkedPosting(rt *rapid.T) ledger.Posting {
	p := drawPosting(rt)
	if rapid.Bool().Draw(rt, "reverses") {
		p.Reverses = ledger.PostingRef{TransactionID: drawID(rt), Ordinal: rapid.IntRange(0, ledger.MaxPostings-1).Draw(rt, "ordinal")}
	}
	return p
}

// entryChanges is how to change each field of a transaction.
var entryChanges = map[string]func(rt *rapid.T, t *ledger.Transaction){
	"ID":            func(rt *rapid.T, t *ledger.Transaction) { t.ID = otherID(rt, t.ID) },
	"Key":           func(rt *rapid.T, t *ledger.Transaction) { t.Key = other(rt, t.Key) },
	"Journal":       func(rt *rapid.T, t *ledger.Transaction) { t.Journal = other(rt, t.Journal) },
	"Label":         func(rt *rapid.T, t *ledger.Transaction) { t.Label = other(rt, t.Label) },
	"EffectiveDate": func(rt *rapid.T, t *ledger.Transaction) { t.EffectiveDate = otherDate(rt, t.EffectiveDate) },
	"RecordedAt": func(rt *rapid.T, t *ledger.Transaction) {
		t.RecordedAt = t.RecordedAt.Add(time.Duration(rapid.Int64Range(1, 1<<40).Draw(rt, "later")) * time.Microsecond)
	},
	"Source":   func(rt *rapid.T, t *ledger.Transaction) { t.Source = otherSource(rt, t.Source) },
	"Metadata": func(rt *rapid.T, t *ledger.Transaction) { t.Metadata = otherMetadata(rt, t.Metadata) },
	"Reverses": func(rt *rapid.T, t *ledger.Transaction) { t.Reverses = otherID(rt, t.Reverses) },
	"HoldID":   func(rt *rapid.T, t *ledger.Transaction) { t.HoldID = otherID(rt, t.HoldID) },
	"Postings": func(rt *rapid.T, t *ledger.Transaction) {
		t.Postings = slices.Clone(t.Postings)
		i := rapid.IntRange(0, len(t.Postings)-1).Draw(rt, "which")
		switch p := &t.Postings[i]; rapid.IntRange(0, 4).Draw(rt, "how") {
		case 0:
			*p = otherPosting(rt, *p)
		case 1:
			p.Reverses.TransactionID = otherID(rt, p.Reverses.TransactionID)
		case 2:
			p.Reverses.Ordinal ^= rapid.IntRange(1, ledger.MaxPostings).Draw(rt, "ordinal")
		case 3:
			t.Postings = slices.Delete(t.Postings, i, i+1)
		case 4:
			t.Postings = slices.Insert(t.Postings, i, drawLinkedPosting(rt))
		}
	},
}

func TestAnyChangeOfAnEntryChangesItsHash(t *testing.T) {
	for name, change := range entryChanges {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				before := drawEntry(rt)
				after := before
				change(rt, &after)
				if ledger.EntryHash("VIR", 2014, 1, before) == ledger.EntryHash("VIR", 2014, 1, after) {
					rt.Fatalf("one hash for\n%+v\n%+v", before, after)
				}
			})
		})
	}
	rapid.Check(t, func(rt *rapid.T) {
		e := drawEntry(rt)
		journal, year, number := drawText(rt), rapid.IntRange(1, 9999).Draw(rt, "year"), rapid.Int64Range(1, 1<<40).Draw(rt, "number")
		hash := ledger.EntryHash(journal, year, number, e)
		if hash != ledger.EntryHash(journal, year, number, e) {
			rt.Fatal("two hashes for one entry")
		}
		for name, moved := range map[string][32]byte{
			"journal":        ledger.EntryHash(other(rt, journal), year, number, e),
			"fiscal year":    ledger.EntryHash(journal, year+1, number, e),
			"number":         ledger.EntryHash(journal, year, number+1, e),
			"year to number": ledger.EntryHash(journal, int(number), int64(year), e),
		} {
			if moved == hash && int64(year) != number {
				rt.Fatalf("another %s has the same hash", name)
			}
		}
	})
}

// A field that is added to a transaction must be sealed as well.
func TestEveryFieldOfATransactionIsSealed(t *testing.T) {
	place := []string{
		"FiscalYear", "Number", // EntryHash is given them
		"Place", // where the row is kept, which a restored book may change
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[ledger.Transaction]()) {
		if _, tried := entryChanges[field.Name]; !tried && !slices.Contains(place, field.Name) {
			t.Errorf("no change of %s is tried: is it in EntryHash?", field.Name)
		}
	}
	for value, fields := range map[any]int{ledger.Posting{}: 5, ledger.PostingRef{}: 2, ledger.Source{}: 3} {
		if got := reflect.TypeOf(value).NumField(); got != fields {
			t.Errorf("%T has %d fields, %d are tried: is the new one in EntryHash?", value, got, fields)
		}
	}
}

// The place that a read transaction carries is not hashed twice: sealing it must
// not change what was sealed.
func TestPlaceOfATransactionDoesNotChangeItsHash(t *testing.T) {
	sealed := entry()
	sealed.FiscalYear, sealed.Number = 2014, 1
	sealed.Place = ledger.Cursor{PageID: 7, Line: 3}
	if ledger.EntryHash("VIR", 2014, 1, sealed) != ledger.EntryHash("VIR", 2014, 1, entry()) {
		t.Error("a transaction has another hash when it is read back")
	}
}

func TestChainsAreAllDifferent(t *testing.T) {
	seen := map[[32]byte]string{}
	for journal, years := range map[string][]int{"VIR": {2014, 2015}, "CB": {2014, 2015}, "V": {2014}} {
		for _, year := range years {
			start := ledger.ChainStart(journal, year)
			if before, ok := seen[start]; ok {
				t.Errorf("%s %d starts as %s", journal, year, before)
			}
			seen[start] = journal
			if ledger.ChainLink(start) != start {
				t.Errorf("%s %d: a chain without entries has moved", journal, year)
			}
		}
	}
}

// Leaving out, inserting, changing or exchanging entries changes the last link.
func TestChainCarriesEveryEntryInOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		start := ledger.ChainStart("VIR", 2014)
		entries := rapid.SliceOfNDistinct(rapid.Custom(drawHash), 2, 8, rapid.ID).Draw(rt, "entries")
		changed := slices.Clone(entries)
		i := rapid.IntRange(0, len(entries)-2).Draw(rt, "which")
		switch rapid.SampledFrom([]string{"drop", "insert", "change", "exchange"}).Draw(rt, "how") {
		case "drop":
			changed = slices.Delete(changed, i, i+1)
		case "insert":
			changed = slices.Insert(changed, i, drawHash(rt))
		case "change":
			changed[i][0] ^= 1
		default:
			changed[i], changed[i+1] = changed[i+1], changed[i]
		}
		if ledger.ChainLink(start, entries...) == ledger.ChainLink(start, changed...) {
			rt.Fatalf("one link for %x and %x", entries, changed)
		}
		if whole, parts := ledger.ChainLink(start, entries...), ledger.ChainLink(ledger.ChainLink(start, entries[:i]...), entries[i:]...); whole != parts {
			rt.Fatal("a chain that is taken up again ends elsewhere")
		}
	})
}

func drawHash(rt *rapid.T) [32]byte {
	return [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(rt, "hash"))
}

func TestPostingsOfARequestReverseNothing(t *testing.T) {
	post := transfer()
	post.Postings[1].Reverses = ledger.PostingRef{TransactionID: uuid.New()}
	wantField(t, "a reversal by hand", post.Validate(), "postings[1].reverses")
	post.Postings[1].Reverses = ledger.PostingRef{Ordinal: 1}
	wantField(t, "an ordinal alone", post.Validate(), "postings[1].reverses")
}

// Verify hashes every transaction of the book: this is what each costs.
func BenchmarkSeal(b *testing.B) {
	link, e := ledger.ChainStart("VIR", 2014), entry()
	number := int64(0)
	for b.Loop() {
		number++
		link = ledger.NextLink(link, ledger.EntryHash("VIR", 2014, number, e))
	}
}
