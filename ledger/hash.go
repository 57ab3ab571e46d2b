package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"
)

// hasher feeds fields to SHA-256, each of a fixed size or with its length before
// it, so that no two requests, entries or heads can be spelled alike.
type hasher struct{ buf []byte }

func newHasher(kind string) *hasher {
	h := &hasher{buf: make([]byte, 0, 512)}
	h.text(kind)
	return h
}

func (h *hasher) number(n int64) { h.buf = binary.BigEndian.AppendUint64(h.buf, uint64(n)) }

func (h *hasher) text(fields ...string) {
	for _, s := range fields {
		h.number(int64(len(s)))
		h.buf = append(h.buf, s...)
	}
}

// id adds the 16 bytes of an id, and so needs no length.
func (h *hasher) id(id uuid.UUID) { h.buf = append(h.buf, id[:]...) }

func (h *hasher) posting(debit, credit uuid.UUID, amount Amount, currency Currency) {
	h.id(debit)
	h.id(credit)
	h.number(int64(amount))
	h.text(string(currency))
}

func (h *hasher) metadata(m map[string]string) {
	h.number(int64(len(m)))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		h.text(key, m[key])
	}
}

// adjustment, like all that requests have learnt to ask for since the first book,
// is hashed only where it is asked for: older requests keep their hashes.
func (h *hasher) adjustment(asked bool) {
	if asked {
		h.text("adjustment")
	}
}

func (h *hasher) sum() [sha256.Size]byte { return sha256.Sum256(h.buf) }

// microseconds returns an instant as a number. No instant that is accepted has
// the number of the zero time.
func microseconds(t time.Time) int64 {
	if t.IsZero() {
		return math.MinInt64
	}
	return t.UnixMicro()
}
