package twitter

import (
	"hash/maphash"
	"sync"
	"time"
)

const (
	// dayBits and dayHashes size a Bloom filter of 4 MiB: with the 100,000 posts a day
	// that X's monthly cap of pay-per-use comes to, not one in a million is mistaken for
	// a repeat; with 3,000,000, one in two hundred.
	dayBits   = 1 << 25
	dayHashes = 7
)

// daySet remembers what was read on the current UTC day, in constant memory. X bills
// what is read twice on one day once. It forgets when the process ends, so what it
// counts as new is at least what X bills, but for the few mistakes named above.
type daySet struct {
	mu   sync.Mutex
	day  int64 // since 1970, UTC
	seed maphash.Seed
	bits []uint64 // nil until the first add
}

// add reports whether the resource's id was not read on this day before.
func (s *daySet) add(now time.Time, resource, id string) bool {
	day := now.Unix() / int64(24*time.Hour/time.Second)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.bits == nil:
		s.bits, s.seed, s.day = make([]uint64, dayBits/64), maphash.MakeSeed(), day
	case s.day != day:
		clear(s.bits)
		s.day = day
	}
	hash := maphash.String(s.seed, resource+":"+id)
	first, step := hash, hash>>32|1 // odd, so that it reaches every bit
	fresh := false
	for range dayHashes {
		bit := first % dayBits
		if s.bits[bit/64]&(1<<(bit%64)) == 0 {
			fresh = true
			s.bits[bit/64] |= 1 << (bit % 64)
		}
		first += step
	}
	return fresh
}
