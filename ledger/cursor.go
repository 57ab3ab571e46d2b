package ledger

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
)

// Cursor is a place in the journal, whose order is by effective date, then by
// recording: a page and a line on it. The zero Cursor is before the beginning.
type Cursor struct {
	PageID int64
	Line   int64
}

// Compare returns -1, 0 or +1 as c is before, the same as, or after d.
func (c Cursor) Compare(d Cursor) int {
	return cmp.Or(cmp.Compare(c.PageID, d.PageID), cmp.Compare(c.Line, d.Line))
}

// A token is a version byte, page and line in eight bytes each, and a checksum of
// these, in base64url: 28 characters, safe in an address.
const (
	cursorVersion = 1
	cursorContent = 1 + 8 + 8
	cursorSize    = cursorContent + crc32.Size
)

// Token writes c as text that callers hand back for the next page and need not
// understand; "" for the zero Cursor. It is no secret and gives no rights.
func (c Cursor) Token() string {
	if c == (Cursor{}) {
		return ""
	}
	raw := make([]byte, 0, cursorSize)
	raw = append(raw, cursorVersion)
	raw = binary.BigEndian.AppendUint64(raw, uint64(c.PageID))
	raw = binary.BigEndian.AppendUint64(raw, uint64(c.Line))
	raw = binary.BigEndian.AppendUint32(raw, crc32.ChecksumIEEE(raw))
	return base64.RawURLEncoding.EncodeToString(raw)
}

// ParseCursor reads what Token writes. A token that was cut off, mistyped or made
// by another version is an Error with CodeInvalid in the field "after": it must
// not silently begin elsewhere.
func ParseCursor(token string) (Cursor, error) {
	if token == "" {
		return Cursor{}, nil
	}
	// The length first: the decoder would skip line breaks, and need not see more.
	if len(token) != base64.RawURLEncoding.EncodedLen(cursorSize) {
		return Cursor{}, badToken(token)
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(raw) != cursorSize || crc32.ChecksumIEEE(raw[:cursorContent]) != binary.BigEndian.Uint32(raw[cursorContent:]) {
		return Cursor{}, badToken(token)
	}
	if raw[0] != cursorVersion {
		return Cursor{}, Errorf(CodeInvalid, "the token %q is of version %d, which is not known here; begin again with the first page", token, raw[0]).InField("after")
	}
	c := Cursor{PageID: int64(binary.BigEndian.Uint64(raw[1:])), Line: int64(binary.BigEndian.Uint64(raw[9:]))}
	if c.PageID < 0 || c.Line < 0 || c == (Cursor{}) {
		return Cursor{}, badToken(token)
	}
	return c, nil
}

func badToken(token string) error {
	return Errorf(CodeInvalid, "%q is not a token of a page; hand back the one that came with the page before, as it was", Clip(token)).InField("after")
}
