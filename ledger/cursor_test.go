package ledger_test

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tweetledger/ledger"
)

func TestTokensOfPages(t *testing.T) {
	for _, c := range []struct {
		cursor ledger.Cursor
		token  string
	}{
		{ledger.Cursor{}, ""},
		{ledger.Cursor{PageID: 1}, "AQAAAAAAAAABAAAAAAAAAABZMi69"},
		{ledger.Cursor{PageID: 72_057_594_037_927_937, Line: 12}, "AQEAAAAAAAABAAAAAAAAAAz-7PMH"},
		{ledger.Cursor{PageID: math.MaxInt64, Line: math.MaxInt64}, "AX__________f_________-Sh9-f"},
	} {
		if got := c.cursor.Token(); got != c.token {
			t.Errorf("%+v: got %q, want %q", c.cursor, got, c.token)
		}
		if back, err := ledger.ParseCursor(c.token); err != nil || back != c.cursor {
			t.Errorf("%q reads as %+v, %v", c.token, back, err)
		}
	}
}

func drawCursor(rt *rapid.T) ledger.Cursor {
	return ledger.Cursor{PageID: rapid.Int64Range(1, math.MaxInt64).Draw(rt, "page"), Line: rapid.Int64Range(0, math.MaxInt64).Draw(rt, "line")}
}

// A token that is mangled in one place is refused, not read as another place.
func TestMangledTokensAreRefused(t *testing.T) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	rapid.Check(t, func(rt *rapid.T) {
		c := drawCursor(rt)
		token := c.Token()
		if back, err := ledger.ParseCursor(token); err != nil || back != c {
			rt.Fatalf("%+v comes back as %+v, %v", c, back, err)
		}
		i := rapid.IntRange(0, len(token)-1).Draw(rt, "place")
		mangled := map[string]string{
			"changed":   token[:i] + string(rapid.SampledFrom([]byte(alphabet)).Draw(rt, "character")) + token[i+1:],
			"cut off":   token[:i],
			"dropped":   token[:i] + token[i+1:],
			"doubled":   token[:i+1] + token[i:],
			"wrapped":   token[:i] + "\n" + token[i:],
			"exchanged": token[i:] + token[:i],
		}
		for name, other := range mangled {
			if other == token || other == "" {
				continue
			}
			if got, err := ledger.ParseCursor(other); ledger.CodeOf(err) != ledger.CodeInvalid || got != (ledger.Cursor{}) {
				rt.Fatalf("%s: %q reads as %+v, %v", name, other, got, err)
			}
		}
	})
}

func TestTokensThatNobodyMade(t *testing.T) {
	made := func(version byte, page, line uint64) string {
		raw := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte{version}, page), line)
		return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32(raw, crc32.ChecksumIEEE(raw)))
	}
	for name, token := range map[string]string{
		"another version": made(2, 1, 1),
		"no place":        made(1, 0, 0),
		"negative page":   made(1, 1<<63, 1),
		"negative line":   made(1, 1, 1<<63),
		"standard base64": strings.Repeat("+", 28),
		"padded":          strings.Repeat("A", 26) + "==",
		"line breaks":     made(1, 1, 1)[:26] + "\r\n",
		"long":            strings.Repeat("A", 1<<16),
		"a number":        "1",
	} {
		_, err := ledger.ParseCursor(token)
		wantField(t, name, err, "after")
	}
}

func TestCursorsAreInOrder(t *testing.T) {
	order := []ledger.Cursor{{}, {PageID: 1}, {PageID: 1, Line: 1}, {PageID: 2}, {PageID: 2, Line: 9}, {PageID: 3, Line: 1}}
	for i, a := range order {
		for j, b := range order {
			if got := a.Compare(b); got != max(-1, min(1, i-j)) {
				t.Errorf("%+v and %+v compare as %d", a, b, got)
			}
		}
	}
}

func FuzzParseCursor(f *testing.F) {
	for _, c := range []ledger.Cursor{{}, {PageID: 1}, {PageID: 1 << 56, Line: 12}, {PageID: math.MaxInt64, Line: math.MaxInt64}} {
		f.Add(c.Token())
	}
	f.Fuzz(func(t *testing.T, token string) {
		c, err := ledger.ParseCursor(token)
		if err != nil {
			refused(t, err)
			return
		}
		if c.Token() != token || c.PageID < 0 || c.Line < 0 {
			t.Fatalf("%q reads as %+v, whose token is %q", token, c, c.Token())
		}
	})
}
