package reconciliation

import (
	"encoding/binary"
	"errors"
)

// Fields of keys, in an encoding whose order as bytes is the order of the fields.

// orderedText appends a text: a zero byte in it is escaped, so that no text is the
// beginning of another one's encoding.
func orderedText(b []byte, s string) []byte {
	for i := range len(s) {
		if b = append(b, s[i]); s[i] == 0 {
			b = append(b, 0xff)
		}
	}
	return append(b, 0, 1)
}

func orderedNumber(b []byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(n)^1<<63)
}

// Fields of values, which are only read back.

func plainText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decoder reads fields back; after an error all further ones are empty.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) fail() {
	if d.err == nil {
		d.err = errors.New("a temporary file is not what was written")
	}
	d.rest = nil
}

func (d *decoder) text() string {
	n, used := binary.Uvarint(d.rest)
	if used <= 0 || n > uint64(len(d.rest)-used) {
		d.fail()
		return ""
	}
	s := string(d.rest[used : used+int(n)])
	d.rest = d.rest[used+int(n):]
	return s
}

func (d *decoder) number() int64 {
	n, used := binary.Varint(d.rest)
	if used <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[used:]
	return n
}
