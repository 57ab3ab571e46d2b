package reconciliation

import (
	"bytes"
	"sort"
)

// shelf is sorted records on disk that are looked up by key, with a place of every
// shelfStep-th in memory.
type shelf struct {
	file  *spillFile
	marks []shelfMark
}

type shelfMark struct {
	key []byte
	at  int64
}

// shelfStep is how many records a look-up may read in vain: one buffer full.
const shelfStep = 64

// newShelf puts what a sorter has on a shelf. The sorter is empty then.
func newShelf(s *sorter) (*shelf, error) {
	shelved := &shelf{}
	count := 0
	file, err := s.write(s.records(), func(key []byte, at int64) {
		if count%shelfStep == 0 {
			shelved.marks = append(shelved.marks, shelfMark{bytes.Clone(key), at})
		}
		count++
	})
	if err != nil {
		return nil, err
	}
	s.drop()
	shelved.file = file
	return shelved, nil
}

// values returns the values under a key, at most limit.
func (s *shelf) values(key []byte, limit int) ([]string, error) {
	behind := sort.Search(len(s.marks), func(i int) bool { return bytes.Compare(s.marks[i].key, key) >= 0 })
	at := int64(0)
	if behind > 0 {
		at = s.marks[behind-1].at
	}
	var list []string
	for r, err := range s.file.records(at) {
		if err != nil {
			return nil, err
		}
		order := bytes.Compare(r.key, key)
		if order > 0 || len(list) == limit {
			break
		}
		if order == 0 {
			list = append(list, string(r.value))
		}
	}
	return list, nil
}
