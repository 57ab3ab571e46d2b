package reconciliation

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tweetledger/ledger"
)

// Whatever the memory, records come in the order of their keys, and from the shelf by
// key; in the end no file is left.
func TestSorterSortsOnDisk(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rapid.StringMatching(`[a-c\x00]{0,3}`), 0, 300).Draw(t, "keys")
		files := newSpill(Spill{Dir: dir, SortMemory: rapid.IntRange(1, 500).Draw(t, "memory")})
		defer files.close()
		s := sorter{spill: files}
		var want [][]byte
		for i, text := range list {
			key := orderedText(nil, text)
			want = append(want, append(bytes.Clone(key), fmt.Sprintf("%04d", i)...))
			if err := s.add(key, fmt.Appendf(nil, "%04d", i)); err != nil {
				t.Fatal(err)
			}
		}
		slices.SortFunc(want, bytes.Compare)
		for range 2 {
			var got [][]byte
			for r, err := range s.records() {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, append(bytes.Clone(r.key), r.value...))
			}
			if !slices.EqualFunc(got, want, bytes.Equal) {
				t.Fatalf("%d records are %q, want %q", len(got), got, want)
			}
		}
		shelved, err := newShelf(&s)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range append(list, "never there") {
			values, err := shelved.values(orderedText(nil, text), len(list)+1)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for i, other := range list {
				if other == text {
					want = append(want, fmt.Sprintf("%04d", i))
				}
			}
			if !slices.Equal(values, want) {
				t.Fatalf("under %q the shelf has %q, want %q", text, values, want)
			}
		}
		files.close()
		if files.used != 0 {
			t.Fatalf("%d bytes are counted that no file has", files.used)
		}
	})
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%d temporary files are left (%v)", len(left), err)
	}
}

// More files than are merged at once are merged in two steps.
func TestSorterMergesManyFiles(t *testing.T) {
	files := newSpill(Spill{Dir: t.TempDir(), SortMemory: 1})
	defer files.close()
	s := sorter{spill: files}
	const many = 2*maxRuns + 7
	for i := range many {
		if err := s.add(orderedNumber(nil, int64(many/2-i)), nil); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.runs) > maxRuns || len(files.files) > maxRuns {
		t.Errorf("%d files are open", len(s.runs))
	}
	var before []byte
	seen := 0
	for r, err := range s.records() {
		if err != nil || bytes.Compare(before, r.key) >= 0 {
			t.Fatalf("record %d is %x after %x (%v)", seen, r.key, before, err)
		}
		before = bytes.Clone(r.key)
		seen++
	}
	if seen != many {
		t.Errorf("%d records came back of %d", seen, many)
	}
}

func TestSorterKeepsToItsDisk(t *testing.T) {
	files := newSpill(Spill{Dir: t.TempDir(), SortMemory: 100, MaxBytes: 1000})
	defer files.close()
	s := sorter{spill: files}
	var err error
	for range 100 {
		if err = s.add(make([]byte, 30), nil); err != nil {
			break
		}
	}
	if ledger.CodeOf(err) != ledger.CodeLimitExceeded {
		t.Errorf("a full disk gives %v", err)
	}
	if err := s.add(make([]byte, maxRecord+1), nil); ledger.CodeOf(err) != ledger.CodeLimitExceeded {
		t.Errorf("a record that is too long gives %v", err)
	}
}

func TestDecoderRefusesWhatWasNotWritten(t *testing.T) {
	value := Item{Reference: "r", Currency: ledger.EUR, Amount: -7}.encode(nil)
	for n := range value {
		if _, err := decodeItem(value[:n]); err == nil {
			t.Errorf("%d of %d bytes are read back as an item", n, len(value))
		}
	}
}
