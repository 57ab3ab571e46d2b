package ledger_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tweetledger/ledger"
)

func signingKey(t testing.TB, seed byte) ed25519.PrivateKey {
	t.Helper()
	key, err := ledger.NewSigningKey(bytes.NewReader(bytes.Repeat([]byte{seed}, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func heads() ledger.Heads {
	vir := ledger.ChainLink(ledger.ChainStart("VIR", 2014), ledger.EntryHash("VIR", 2014, 1, entry()))
	return ledger.Heads{Book: "demo", At: time.Date(2014, 10, 14, 8, 0, 0, 500_000_000, time.UTC), List: []ledger.Head{
		{Journal: "CB", FiscalYear: 2015, Number: 12, Link: ledger.ChainStart("CB", 2015)},
		{Journal: "VIR", FiscalYear: 2014, Number: 1, Link: vir},
		{Journal: "CB", FiscalYear: 2014, Number: 3000, Link: ledger.ChainStart("CB", 2014)},
	}}
}

func signed(t testing.TB, h ledger.Heads) ledger.SignedHeads {
	t.Helper()
	s, err := h.Sign(signingKey(t, 7))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func encoded(t testing.TB, s ledger.SignedHeads) []byte {
	t.Helper()
	file, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// Files of heads are published and kept for years: the format is for ever.
func TestHeadsFileIsForEver(t *testing.T) {
	want, err := os.ReadFile(filepath.Join("testdata", "heads.json"))
	if err != nil {
		t.Fatal(err)
	}
	if got := encoded(t, signed(t, heads())); !bytes.Equal(got, want) {
		t.Fatalf("got\n%swant\n%s", got, want)
	}
	s, err := ledger.ParseSignedHeads(want)
	if err != nil {
		t.Fatal(err)
	}
	if s.Digest() != heads().Digest() || !s.At.Equal(heads().At) || s.Book != "demo" || len(s.List) != 3 {
		t.Errorf("the file reads as %+v", s)
	}
	public, _ := signingKey(t, 7).Public().(ed25519.PublicKey)
	if err := errors.Join(s.Verify(nil), s.Verify(public)); err != nil {
		t.Error(err)
	}
}

func TestVerifyOfHeads(t *testing.T) {
	s := signed(t, heads())
	another, _ := signingKey(t, 8).Public().(ed25519.PublicKey)
	wantField(t, "another key than the pinned one", s.Verify(another), "public_key")
	wantField(t, "an empty pinned key", s.Verify(ed25519.PublicKey{}), "public_key")
	swapped := s
	swapped.PublicKey = another
	wantField(t, "a key that did not sign", swapped.Verify(nil), "signature")
	swapped = s
	swapped.Signature = bytes.Clone(s.Signature)
	swapped.Signature[5] ^= 1
	wantField(t, "another signature", swapped.Verify(nil), "signature")
	wantField(t, "no signature", ledger.SignedHeads{Heads: heads(), PublicKey: another}.Verify(nil), "signature")
	wantField(t, "no key", ledger.SignedHeads{Heads: heads(), Signature: s.Signature}.Verify(nil), "public_key")

	for name, change := range headsChanges {
		t.Run(name, func(t *testing.T) {
			changed := s
			changed.List = slices.Clone(s.List)
			change(&changed.Heads)
			if changed.Digest() == s.Digest() {
				t.Error("the digest is the same")
			}
			wantField(t, "changed", changed.Verify(nil), "signature")
		})
	}
}

var headsChanges = map[string]func(h *ledger.Heads){
	"book":           func(h *ledger.Heads) { h.Book = "demo2" },
	"instant":        func(h *ledger.Heads) { h.At = h.At.Add(time.Microsecond) },
	"one head less":  func(h *ledger.Heads) { h.List = h.List[1:] },
	"journal":        func(h *ledger.Heads) { h.List[0].Journal = "CC" },
	"fiscal year":    func(h *ledger.Heads) { h.List[0].FiscalYear-- },
	"number":         func(h *ledger.Heads) { h.List[2].Number-- },
	"link":           func(h *ledger.Heads) { h.List[1].Link[31] ^= 0x80 },
	"links exchange": func(h *ledger.Heads) { h.List[0].Link, h.List[1].Link = h.List[1].Link, h.List[0].Link },
}

func TestOrderOfHeadsDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := heads()
		h.List = rapid.Permutation(h.List).Draw(rt, "order")
		if h.Digest() != heads().Digest() {
			rt.Fatalf("%v has another digest", h.List)
		}
		if !bytes.Equal(encoded(t, signed(t, h)), encoded(t, signed(t, heads()))) {
			rt.Fatalf("%v makes another file", h.List)
		}
	})
}

func TestHeadsAreChecked(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(h *ledger.Heads)
		field  string
	}{
		{"as they are", func(h *ledger.Heads) {}, ""},
		{"no name", func(h *ledger.Heads) { h.Book = "" }, ""},
		{"a new book", func(h *ledger.Heads) { h.List = nil }, ""},
		{"a name that would become a link", func(h *ledger.Heads) { h.Book = "example.com" }, "book"},
		{"long name", func(h *ledger.Heads) { h.Book = strings.Repeat("a", 33) }, "book"},
		{"no instant", func(h *ledger.Heads) { h.At = time.Time{} }, "at"},
		{"year 10000", func(h *ledger.Heads) { h.At = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC) }, "at"},
		{"two heads of a chain", func(h *ledger.Heads) { h.List[0].FiscalYear = 2014 }, "heads[1]"},
		{"journal", func(h *ledger.Heads) { h.List[0].Journal = "cb" }, "heads[2].journal"},
		{"fiscal year", func(h *ledger.Heads) { h.List[0].FiscalYear = 2200 }, "heads[2].fiscal_year"},
		{"earliest fiscal year", func(h *ledger.Heads) { h.List[0].FiscalYear = 1899 }, ""},
		{"fiscal year before", func(h *ledger.Heads) { h.List[0].FiscalYear = 1898 }, "heads[0].fiscal_year"},
		{"number 0", func(h *ledger.Heads) { h.List[0].Number = 0 }, "heads[2].number"},
		{"greatest number", func(h *ledger.Heads) { h.List[0].Number = ledger.MaxNumber }, ""},
		{"number beyond", func(h *ledger.Heads) { h.List[0].Number = ledger.MaxNumber + 1 }, "heads[2].number"},
		{"many", func(h *ledger.Heads) { h.List = make([]ledger.Head, ledger.MaxHeads+1) }, "heads"},
	} {
		h := heads()
		c.change(&h)
		wantField(t, c.name, h.Validate(), c.field)
		_, err := h.Sign(signingKey(t, 7))
		wantField(t, "sign: "+c.name, err, c.field)
		_, err = h.Text(ledger.MaxAnnouncement)
		wantField(t, "announce: "+c.name, err, c.field)
		_, err = ledger.SignedHeads{Heads: h, PublicKey: make([]byte, 32), Signature: make([]byte, 64)}.Encode()
		wantField(t, "encode: "+c.name, err, c.field)
	}
	_, err := heads().Sign(ed25519.PrivateKey("short"))
	wantField(t, "a key that is none", err, "key")
}

func TestAnnouncementOfHeads(t *testing.T) {
	h := heads()
	text, err := h.Text(ledger.MaxAnnouncement)
	digest := h.Digest()
	want := "Ledger heads of demo at 2014-10-14T08:00:00.5Z: 3 chains, 3013 entries, SHA-256 " + hexText(digest)
	if err != nil || text != want {
		t.Errorf("got %q, %v; want %q", text, err, want)
	}
	if _, err := h.Text(len(want) - 1); ledger.CodeOf(err) != ledger.CodeInvalid {
		t.Errorf("in one character less: %v", err)
	}
	one := ledger.Heads{At: h.At, List: h.List[1:2]}
	if text, err := one.Text(ledger.MaxAnnouncement); err != nil || !strings.HasPrefix(text, "Ledger heads at 2014-10-14T08:00:00.5Z: 1 chain, 1 entry, SHA-256 ") {
		t.Errorf("got %q, %v", text, err)
	}
}

// The longest that Validate lets through fits in a post, and in the file's bound.
func TestGreatestHeadsFit(t *testing.T) {
	h := ledger.Heads{Book: strings.Repeat("b", 32), At: time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)}
	for i := range ledger.MaxHeads {
		h.List = append(h.List, ledger.Head{Journal: strings.Repeat("A", 6) + string(rune('A'+i%26)) + string(rune('A'+i/26%26)),
			FiscalYear: 2000 + i/676, Number: ledger.MaxNumber})
	}
	text, err := h.Text(ledger.MaxAnnouncement)
	if err != nil || strings.ContainsAny(text, "\n@#/") {
		t.Errorf("got %q, %v", text, err)
	}
	file := encoded(t, signed(t, h))
	if len(file) > ledger.MaxHeadsFile {
		t.Fatalf("the file has %d bytes", len(file))
	}
	if s, err := ledger.ParseSignedHeads(file); err != nil || s.Verify(nil) != nil || len(s.List) != ledger.MaxHeads {
		t.Errorf("%d heads, %v", len(s.List), err)
	}
}

// Each of these is one change of a good file.
func TestHeadsFilesAreReadStrictly(t *testing.T) {
	good := string(encoded(t, signed(t, heads())))
	for _, c := range []struct{ name, old, new, field string }{
		{"another version", "heads 1", "heads 2", "format"},
		{"another version with other fields", `heads 1",`, `heads 2", "chains": [],`, "format"},
		{"no format", `"format": "tweetledger heads 1",`, "", "format"},
		{"format twice", `"book"`, `"format": "tweetledger heads 1", "book"`, "format"},
		{"unknown field", `"book"`, `"note": "", "book"`, "note"},
		{"capital", `"book"`, `"Book"`, "Book"},
		{"bad book", `"demo"`, `"a.b"`, "book"},
		{"book is no text", `"demo"`, `7`, "book"},
		{"null", `"demo"`, `null`, "book"},
		{"no instant", `2014-10-14T08:00:00.5Z`, ``, "at"},
		{"another instant", `08:00:00.5Z`, `08:00:01.5Z`, "digest"},
		{"the same instant elsewhere", `08:00:00.5Z`, `09:00:00.5+01:00`, ""},
		{"too fine an instant", `08:00:00.5Z`, `08:00:00.0000001Z`, "at"},
		{"no heads", `"heads": [`, `"heads": {}, "x": [`, "heads"},
		{"a head that is none", `"heads": [`, `"heads": [7,`, "heads[0]"},
		{"a head without fields", `"heads": [`, `"heads": [{},`, "heads[0].journal"},
		{"unknown field of a head", `"journal": "CB"`, `"x": 1, "journal": "CB"`, "heads[0].x"},
		{"another journal", `"journal": "CB"`, `"journal": "CA"`, "digest"},
		{"out of order", `"journal": "CB"`, `"journal": "ZZ"`, "heads[1]"},
		{"number in text", `"number": 3000`, `"number": "3000"`, "heads[0].number"},
		{"number with a point", `"number": 3000`, `"number": 3000.0`, "heads[0].number"},
		{"number with an exponent", `"number": 3000`, `"number": 3e3`, "heads[0].number"},
		{"number too great", `"number": 3000`, `"number": 9223372036854775808`, "heads[0].number"},
		{"number 0", `"number": 3000`, `"number": 0`, "heads[0].number"},
		{"another number", `"number": 3000`, `"number": 3001`, "digest"},
		{"year too great", `"fiscal_year": 2015`, `"fiscal_year": 20150`, "heads[2].fiscal_year"},
		{"year beyond", `"fiscal_year": 2015`, `"fiscal_year": 2201`, "heads[2].fiscal_year"},
		{"short link", `"link": "`, `"link": "00`, "heads[0].link"},
		{"no digest", `"digest": "`, `"digest": "g`, "digest"},
		{"another key id", `"key_id": "`, `"key_id": "0`, "key_id"},
		{"no base64", `"public_key": "`, `"public_key": "*`, "public_key"},
		{"line break in base64", `"public_key": "`, `"public_key": "\n`, "public_key"},
		{"long key", `"public_key": "`, `"public_key": "AAAA`, "public_key"},
		{"long signature", `"signature": "`, `"signature": "AAAA`, "signature"},
	} {
		if !strings.Contains(good, c.old) {
			t.Fatalf("%s: there is no %s in the file", c.name, c.old)
		}
		_, err := ledger.ParseSignedHeads([]byte(strings.Replace(good, c.old, c.new, 1)))
		wantField(t, c.name, err, c.field)
	}
	upper := heads().Digest()
	_, err := ledger.ParseSignedHeads([]byte(strings.Replace(good, hexText(upper), strings.ToUpper(hexText(upper)), 1)))
	wantField(t, "capital digits", err, "digest")
}

func TestDocumentsAreReadStrictly(t *testing.T) {
	for name, document := range map[string]string{
		"nothing":             "",
		"blank":               " \n",
		"no JSON":             "heads",
		"cut off":             `{"format": "tweetledger`,
		"cut off in a list":   `{"heads": [`,
		"trailing comma":      `{"heads": [],}`,
		"no comma":            `{"a": 1 "b": 2}`,
		"a list":              `[]`,
		"text":                `"x"`,
		"two documents":       `{} {}`,
		"rubbish behind":      `{}]`,
		"byte order mark":     "\ufeff{}",
		"broken UTF-8":        "{\"a\": \"\xc3\"}",
		"half a character":    `{"a": "\ud83d"}`,
		"half and another":    `{"a": "\ud83d\n"}`,
		"the other half":      `{"a": "\ude00"}`,
		"halves in bad order": `{"a": "\ude00\ud83d"}`,
		"deep":                strings.Repeat(`{"a":`, 9) + "1" + strings.Repeat("}", 9),
		"very deep":           `{"a":` + strings.Repeat(`[`, 1<<16),
		"long":                "{" + strings.Repeat(" ", ledger.MaxHeadsFile) + "}",
		"a name of controls":  `{"format": "tweetledger heads 1", "\u0000\n": 1}`,
		"a long name":         `{"format": "tweetledger heads 1", "` + strings.Repeat("n", 1<<16) + `": 1}`,
	} {
		_, err := ledger.ParseSignedHeads([]byte(document))
		refusal, ok := errors.AsType[*ledger.Error](err)
		if !ok || refusal.Code != ledger.CodeInvalid || len(err.Error()) > 300 || strings.ContainsAny(err.Error(), "\n\x00") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	// Escaped characters that are whole are no halves.
	_, err := ledger.ParseSignedHeads([]byte(`{"format": "\\ud83d \ud83d\ude00"}`))
	wantField(t, "a whole character", err, "format")
	if err == nil || !strings.Contains(err.Error(), `\ud83d 😀`) {
		t.Errorf("got %v", err)
	}
}

func TestFileOfHeadsIsPlainJSON(t *testing.T) {
	var file map[string]any
	if err := json.Unmarshal(encoded(t, signed(t, heads())), &file); err != nil {
		t.Fatal(err)
	}
	want := []string{"at", "book", "digest", "format", "heads", "key_id", "public_key", "signature"}
	if got := slices.Sorted(maps.Keys(file)); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func FuzzParseSignedHeads(f *testing.F) {
	f.Add(encoded(f, signed(f, heads())))
	f.Add(encoded(f, signed(f, ledger.Heads{At: heads().At})))
	f.Fuzz(func(t *testing.T, file []byte) {
		s, err := ledger.ParseSignedHeads(file)
		if err != nil {
			refused(t, err)
			return
		}
		again, err := s.Encode()
		if err != nil {
			t.Fatalf("%s cannot be written again: %v", file, err)
		}
		back, err := ledger.ParseSignedHeads(again)
		if err != nil || !reflect.DeepEqual(back, s) || (s.Verify(nil) == nil) != (back.Verify(nil) == nil) {
			t.Fatalf("%s reads as %+v and again as %+v, %v", file, s, back, err)
		}
	})
}
