package ledger

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"time"
)

// Head is the last seal of a chain. Who has seen it can tell later whether an
// entry up to it was changed, removed or put in between.
type Head struct {
	Journal    string
	FiscalYear int               // the year in which it begins
	Number     int64             // of the last entry sealed, and so how many there are
	Link       [sha256.Size]byte // NextLink of that entry
}

// Heads is what a book says of all its chains at an instant, to be kept or
// published outside. The order of List does not matter.
type Heads struct {
	// Book names the book among those of its owner: 1 to 32 of a-z 0-9 -, or
	// nothing. It can stand in a tweet without becoming a link.
	Book string
	At   time.Time // UTC, microseconds
	List []Head    // at most MaxHeads, one a chain
}

// SignedHeads are Heads that the holder of a key has signed. Only Verify says
// whether the signature is right.
type SignedHeads struct {
	Heads
	PublicKey ed25519.PublicKey
	Signature []byte
}

// Bounds of heads.
const (
	// MaxHeads is 50 journals over 200 years.
	MaxHeads = 10_000
	// MaxHeadsFile bounds the file of signed heads, in bytes: MaxHeads take half.
	MaxHeadsFile = 4 << 20
	// MaxNumber bounds the number of an entry: a thousand entries a second for
	// thirty years, and the sum over MaxHeads still fits in 64 bits.
	MaxNumber = 1_000_000_000_000
	// MaxAnnouncement is the length of a post on X.
	MaxAnnouncement = 280
)

// HeadsFormat is the first thing that a file of signed heads says.
const HeadsFormat = "tweetledger heads 1"

var bookPattern = regexp.MustCompile(`^[a-z0-9-]{0,32}$`)

// Validate checks that h could be the heads of a book. The error is an Error with
// CodeInvalid that names the field.
func (h Heads) Validate() error {
	switch {
	case !bookPattern.MatchString(h.Book):
		return Errorf(CodeInvalid, "%q is not the name of a book: at most 32 of a-z 0-9 -", Clip(h.Book)).InField("book")
	case h.At.IsZero():
		return Errorf(CodeInvalid, "the heads need the instant at which they were read").InField("at")
	case h.At.UTC().Year() < 1 || h.At.UTC().Year() > 9999:
		return Errorf(CodeInvalid, "the year %d is not between 1 and 9999", h.At.UTC().Year()).InField("at")
	case len(h.List) > MaxHeads:
		return Errorf(CodeInvalid, "there are %d heads; at most %d are signed", len(h.List), MaxHeads).InField("heads")
	}
	list := h.sorted()
	for i, head := range list {
		err := head.validate()
		if err == nil && i > 0 && compareChains(list[i-1], head) == 0 {
			err = Errorf(CodeInvalid, "journal %s of %d has two heads", head.Journal, head.FiscalYear)
		}
		if err != nil {
			return within(err, fmt.Sprintf("heads[%d]", i))
		}
	}
	return nil
}

func (h Head) validate() error {
	if err := validateJournal(h.Journal); err != nil {
		return err
	}
	// A fiscal year may begin in the year before its first day that can be posted to.
	if first, last := MinEffectiveDate.Year-1, MaxEffectiveDate.Year; h.FiscalYear < first || h.FiscalYear > last {
		return Errorf(CodeInvalid, "the fiscal year %d is not between %d and %d", h.FiscalYear, first, last).InField("fiscal_year")
	}
	if h.Number < 1 || h.Number > MaxNumber {
		return Errorf(CodeInvalid, "entries have numbers from 1 to %d, not %d", int64(MaxNumber), h.Number).InField("number")
	}
	return nil
}

func compareChains(a, b Head) int {
	return cmp.Or(cmp.Compare(a.FiscalYear, b.FiscalYear), cmp.Compare(a.Journal, b.Journal))
}

// sorted returns the heads by fiscal year, then journal.
func (h Heads) sorted() []Head {
	list := slices.Clone(h.List)
	slices.SortStableFunc(list, compareChains)
	return list
}

// canonical spells h in bytes: what is signed.
func (h Heads) canonical() []byte {
	b := newHasher(HeadsFormat)
	b.text(h.Book)
	b.number(microseconds(h.At))
	b.number(int64(len(h.List)))
	for _, head := range h.sorted() {
		b.text(head.Journal)
		b.number(int64(head.FiscalYear))
		b.number(head.Number)
		b.buf = append(b.buf, head.Link[:]...)
	}
	return b.buf
}

// Digest is the SHA-256 of all that h says: short enough to be published, and
// only these heads have it.
func (h Heads) Digest() [sha256.Size]byte { return sha256.Sum256(h.canonical()) }

// Entries returns how many entries are sealed under h.
func (h Heads) Entries() int64 {
	var sum int64
	for _, head := range h.List {
		sum += head.Number
	}
	return sum
}

// Text announces h in one line of at most this many characters, all ASCII and
// without a link. The digest is never shortened: where it does not fit, the error
// is an Error with CodeInvalid.
func (h Heads) Text(most int) (string, error) {
	if err := h.Validate(); err != nil {
		return "", err
	}
	of := ""
	if h.Book != "" {
		of = " of " + h.Book
	}
	digest := h.Digest()
	text := fmt.Sprintf("Ledger heads%s at %s: %s, %s, SHA-256 %x", of, h.at(),
		count(int64(len(h.List)), "chain", "chains"), count(h.Entries(), "entry", "entries"), digest)
	if len(text) > most {
		return "", Errorf(CodeInvalid, "the announcement takes %d characters, more than %d", len(text), most)
	}
	return text, nil
}

func count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func (h Heads) at() string { return h.At.UTC().Truncate(time.Microsecond).Format(time.RFC3339Nano) }

// Sign returns h with the key's signature.
func (h Heads) Sign(key ed25519.PrivateKey) (SignedHeads, error) {
	if err := h.Validate(); err != nil {
		return SignedHeads{}, err
	}
	if len(key) != ed25519.PrivateKeySize {
		return SignedHeads{}, Errorf(CodeInvalid, "a private key of Ed25519 has %d bytes, not %d", ed25519.PrivateKeySize, len(key)).InField("key")
	}
	h.At, h.List = h.At.UTC().Truncate(time.Microsecond), h.sorted()
	public, _ := key.Public().(ed25519.PublicKey)
	return SignedHeads{Heads: h, PublicKey: public, Signature: ed25519.Sign(key, h.canonical())}, nil
}

// Verify checks that the heads are as they were signed, and by this key. Without
// a key (nil) it takes the one that came with them, which shows only that they
// belong together: anyone can sign with a key of one's own.
func (s SignedHeads) Verify(pinned ed25519.PublicKey) error {
	if err := s.check(); err != nil {
		return err
	}
	if pinned != nil && !pinned.Equal(s.PublicKey) {
		return Errorf(CodeInvalid, "the heads are signed with key %s, not with %s", KeyID(s.PublicKey), KeyID(pinned)).InField("public_key")
	}
	if !ed25519.Verify(s.PublicKey, s.canonical(), s.Signature) {
		return Errorf(CodeInvalid, "the signature is not one of these heads with key %s; they were changed after it was made", KeyID(s.PublicKey)).InField("signature")
	}
	return nil
}

// check checks the form of s, not its signature.
func (s SignedHeads) check() error {
	if len(s.Signature) != ed25519.SignatureSize {
		return Errorf(CodeInvalid, "a signature of Ed25519 has %d bytes, not %d", ed25519.SignatureSize, len(s.Signature)).InField("signature")
	}
	return firstError(s.Validate(), checkPublicKey(s.PublicKey))
}

// headsFile is the file of signed heads. The digest and the key's id follow from
// the rest; they are there for people to compare.
type headsFile struct {
	Format    string     `json:"format"`
	Book      string     `json:"book,omitempty"`
	At        string     `json:"at"`
	Heads     []headLine `json:"heads"`
	Digest    string     `json:"digest"`
	KeyID     string     `json:"key_id"`
	PublicKey string     `json:"public_key"`
	Signature string     `json:"signature"`
}

type headLine struct {
	Journal    string `json:"journal"`
	FiscalYear int    `json:"fiscal_year"`
	Number     int64  `json:"number"`
	Link       string `json:"link"`
}

// Encode writes s as a file in HeadsFormat: JSON with the chains by fiscal year,
// then journal.
func (s SignedHeads) Encode() ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	digest := s.Digest()
	file := headsFile{Format: HeadsFormat, Book: s.Book, At: s.at(), Heads: []headLine{}, Digest: hex.EncodeToString(digest[:]),
		KeyID: KeyID(s.PublicKey), PublicKey: base64.StdEncoding.EncodeToString(s.PublicKey), Signature: base64.StdEncoding.EncodeToString(s.Signature)}
	for _, head := range s.sorted() {
		file.Heads = append(file.Heads, headLine{head.Journal, head.FiscalYear, head.Number, hex.EncodeToString(head.Link[:])})
	}
	text, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write signed heads: %w", err)
	}
	return append(text, '\n'), nil
}

// ParseSignedHeads reads what Encode writes. It checks the form, the digest and
// the key's id, but not the signature: Verify does. The error is an Error with
// CodeInvalid that names the field.
func ParseSignedHeads(file []byte) (SignedHeads, error) {
	o, err := readJSON(file, MaxHeadsFile)
	if err != nil {
		return SignedHeads{}, err
	}
	o.need("format")
	if format := o.text("format"); format != HeadsFormat {
		o.refuse("format", "%q is not a format that is known here; %q is", Clip(format), HeadsFormat)
	}
	o.need("at", "heads", "digest", "key_id", "public_key", "signature")
	s := SignedHeads{Heads: Heads{Book: o.text("book"), At: o.instant("at")}}
	for _, line := range o.children("heads", MaxHeads) {
		line.need("journal", "fiscal_year", "number", "link")
		head := Head{Journal: line.text("journal"), FiscalYear: line.small("fiscal_year", maxYear), Link: line.digest("link")}
		head.Number, _ = line.integer("number")
		if n := len(s.List); n > 0 && compareChains(s.List[n-1], head) >= 0 {
			line.document.refuse(line.path, "journal %s of %d is out of order: by fiscal year, then journal, each once", Clip(head.Journal), head.FiscalYear)
		}
		line.done()
		s.List = append(s.List, head)
	}
	digest, keyID := o.digest("digest"), o.text("key_id")
	s.PublicKey, s.Signature = o.base64("public_key"), o.base64("signature")
	o.done()
	if err := firstError(o.document.err, s.check()); err != nil {
		return SignedHeads{}, err
	}
	if expected := s.Digest(); !bytes.Equal(digest[:], expected[:]) {
		return SignedHeads{}, Errorf(CodeInvalid, "the digest of these heads is %x; the file was changed", expected).InField("digest")
	}
	if expected := KeyID(s.PublicKey); keyID != expected {
		return SignedHeads{}, Errorf(CodeInvalid, "the id of this public key is %s, not %q", expected, Clip(keyID)).InField("key_id")
	}
	return s, nil
}
