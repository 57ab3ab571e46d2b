package reconciliation

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"syscall"

	"tweetledger/ledger"
)

// Defaults of Spill.
const (
	// DefaultSpillBytes is room for both sides of ten million items, and for the
	// copies that merging them makes.
	DefaultSpillBytes = 32 << 30
	// DefaultSortMemory sorts about 100,000 items at once; a run has a handful of
	// sorters at work.
	DefaultSortMemory = 32 << 20
)

// Spill says where a run keeps what does not fit into memory. The zero value is
// the system's folder for temporary files, and the defaults.
type Spill struct {
	Dir string // empty: os.TempDir()
	// MaxBytes bounds the temporary files of a run; 0: DefaultSpillBytes. More is
	// CodeLimitExceeded.
	MaxBytes int64
	// SortMemory is how many bytes each sorter keeps before it writes a file; 0:
	// DefaultSortMemory.
	SortMemory int
}

// spill is the temporary files of one run. It is used by one goroutine.
type spill struct {
	dir    string
	max    int64
	used   int64
	memory int
	files  map[*spillFile]bool
}

func newSpill(s Spill) *spill {
	return &spill{dir: cmp.Or(s.Dir, os.TempDir()), max: cmp.Or(s.MaxBytes, DefaultSpillBytes),
		memory: cmp.Or(s.SortMemory, DefaultSortMemory), files: map[*spillFile]bool{}}
}

// spillFile is a temporary file that is written once, and read then.
type spillFile struct {
	spill *spill
	file  *os.File
	size  int64
}

func (s *spill) create() (*spillFile, error) {
	file, err := os.CreateTemp(s.dir, "tweetledger-sort-*")
	if err != nil {
		return nil, fmt.Errorf("make a temporary file: %w", err)
	}
	// Where the system allows it the name goes at once, and with it the file when
	// the process is killed; elsewhere drop removes it.
	_ = os.Remove(file.Name())
	f := &spillFile{spill: s, file: file}
	s.files[f] = true
	return f, nil
}

// Write implements io.Writer.
func (f *spillFile) Write(p []byte) (int, error) {
	if f.spill.used+int64(len(p)) > f.spill.max {
		return 0, ledger.Errorf(ledger.CodeLimitExceeded, "the run needs more than %d MB of temporary files in %s; allow more, or reconcile a shorter period",
			f.spill.max>>20, f.spill.dir).InField("temp_bytes")
	}
	n, err := f.file.Write(p)
	f.size, f.spill.used = f.size+int64(n), f.spill.used+int64(n)
	if errors.Is(err, syscall.ENOSPC) {
		return n, ledger.Errorf(ledger.CodeUnavailable, "the disk of %s is full after %d MB of temporary files; make room, or name another folder: %w",
			f.spill.dir, f.spill.used>>20, err).InField("temp_dir")
	}
	if err != nil {
		return n, fmt.Errorf("write a temporary file: %w", err)
	}
	return n, nil
}

// drop removes the file. It may be called more than once.
func (f *spillFile) drop() {
	if !f.spill.files[f] {
		return
	}
	delete(f.spill.files, f)
	f.spill.used -= f.size
	_ = f.file.Close()
	_ = os.Remove(f.file.Name())
}

// close removes all files of the run.
func (s *spill) close() {
	for f := range s.files {
		f.drop()
	}
}
