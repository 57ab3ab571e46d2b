package reconciliation

import (
	"bufio"
	"bytes"
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"tweetledger/ledger"
)

const (
	// maxRuns bounds the files that are merged at once, and so the open files and the
	// memory for reading them. More are merged into one first.
	maxRuns = 128
	// runBuffer is what is read of a file at once.
	runBuffer = 64 << 10
	// maxRecord bounds one record: a message is a few kilobytes.
	maxRecord = 1 << 20
)

// record is what is sorted: by key, and then by value, so that the order in which
// records came is forgotten.
type record struct{ key, value []byte }

func (r record) compare(other record) int {
	return cmp.Or(bytes.Compare(r.key, other.key), bytes.Compare(r.value, other.value))
}

// sorter sorts records in bounded memory: what does not fit is sorted and written to
// a file of the run, and the files are merged when they are read.
type sorter struct {
	spill *spill
	arena []byte
	spans []span
	runs  []*spillFile
	count int
}

// span is where a record lies in the arena: its key, and its value behind it.
type span struct{ at, key, value int }

func (s *sorter) record(p span) record {
	return record{s.arena[p.at : p.at+p.key], s.arena[p.at+p.key : p.at+p.key+p.value]}
}

// spanSize is what a record costs beside its bytes.
const spanSize = 24

func (s *sorter) add(key, value []byte) error {
	size := len(key) + len(value)
	if size > maxRecord {
		return ledger.Errorf(ledger.CodeLimitExceeded, "an item takes %d bytes; %d are the most", size, maxRecord)
	}
	if len(s.spans) > 0 && len(s.arena)+size+spanSize*(len(s.spans)+1) > s.spill.memory {
		if err := s.flush(); err != nil {
			return err
		}
	}
	s.spans = append(s.spans, span{len(s.arena), len(key), len(value)})
	s.arena = append(append(s.arena, key...), value...)
	s.count++
	return nil
}

func (s *sorter) sortMemory() {
	slices.SortFunc(s.spans, func(a, b span) int { return s.record(a).compare(s.record(b)) })
}

// flush writes what is in memory to a file of its own.
func (s *sorter) flush() error {
	if len(s.runs) == maxRuns {
		if err := s.mergeRuns(); err != nil {
			return err
		}
	}
	s.sortMemory()
	file, err := s.write(s.memory(), nil)
	if err != nil {
		return err
	}
	s.runs = append(s.runs, file)
	s.arena, s.spans = s.arena[:0], s.spans[:0]
	return nil
}

func (s *sorter) memory() iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		for _, p := range s.spans {
			if !yield(s.record(p), nil) {
				return
			}
		}
	}
}

// write makes a file of records; mark, where it is set, is told where each one begins.
func (s *sorter) write(records iter.Seq2[record, error], mark func(key []byte, at int64)) (*spillFile, error) {
	file, err := s.spill.create()
	if err != nil {
		return nil, err
	}
	w := bufio.NewWriterSize(file, runBuffer)
	var head [2 * binary.MaxVarintLen64]byte
	at := int64(0)
	for r, err := range records {
		if err == nil {
			if mark != nil {
				mark(r.key, at)
			}
			n := binary.PutUvarint(head[:], uint64(len(r.key)))
			n += binary.PutUvarint(head[n:], uint64(len(r.value)))
			_, err = w.Write(head[:n])
			at += int64(n + len(r.key) + len(r.value))
		}
		if err == nil {
			_, err = w.Write(r.key)
		}
		if err == nil {
			_, err = w.Write(r.value)
		}
		if err != nil {
			file.drop()
			return nil, err
		}
	}
	if err := w.Flush(); err != nil {
		file.drop()
		return nil, err
	}
	return file, nil
}

// mergeRuns makes one file of all.
func (s *sorter) mergeRuns() error {
	merged, err := s.write(merge(s.runs, nil), nil)
	if err != nil {
		return err
	}
	for _, run := range s.runs {
		run.drop()
	}
	s.runs = []*spillFile{merged}
	return nil
}

// records yields all records in their order. Each is good until the next one is asked
// for. It may be called again.
func (s *sorter) records() iter.Seq2[record, error] {
	s.sortMemory()
	if len(s.runs) == 0 {
		return s.memory()
	}
	return merge(s.runs, s.memory())
}

// drop gives back memory and files.
func (s *sorter) drop() {
	for _, run := range s.runs {
		run.drop()
	}
	s.arena, s.spans, s.runs = nil, nil, nil
}

// source is one sorted stream of a merge, with the record that is next.
type source struct {
	next func() (record, error, bool)
	stop func()
	head record
}

type sources []*source

func (h sources) Len() int           { return len(h) }
func (h sources) Less(i, j int) bool { return h[i].head.compare(h[j].head) < 0 }
func (h sources) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *sources) Push(x any)        { *h = append(*h, x.(*source)) } //nolint:forcetypeassert // heap.Interface; only sources are pushed
func (h *sources) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

// merge yields the records of sorted files, and of memory where it is not nil.
func merge(runs []*spillFile, memory iter.Seq2[record, error]) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		var heads sources
		streams := make([]iter.Seq2[record, error], 0, len(runs)+1)
		for _, run := range runs {
			streams = append(streams, run.records(0))
		}
		if memory != nil {
			streams = append(streams, memory)
		}
		for _, stream := range streams {
			next, stop := iter.Pull2(stream)
			defer stop()
			r, err, ok := next()
			if err != nil {
				yield(record{}, err)
				return
			}
			if ok {
				heads = append(heads, &source{next: next, stop: stop, head: r})
			}
		}
		heap.Init(&heads)
		for len(heads) > 0 {
			if !yield(heads[0].head, nil) {
				return
			}
			r, err, ok := heads[0].next()
			switch {
			case err != nil:
				yield(record{}, err)
				return
			case ok:
				heads[0].head = r
				heap.Fix(&heads, 0)
			default:
				heap.Pop(&heads)
			}
		}
	}
}

// records reads a file back, from where a record begins.
func (f *spillFile) records(at int64) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		r := bufio.NewReaderSize(io.NewSectionReader(f.file, at, f.size-at), runBuffer)
		var buf []byte
		for {
			key, err := binary.ReadUvarint(r)
			if errors.Is(err, io.EOF) {
				return
			}
			var value uint64
			if err == nil {
				value, err = binary.ReadUvarint(r)
			}
			if err == nil && (key > maxRecord || value > maxRecord) {
				err = errors.New("it is not what was written")
			}
			if err == nil {
				buf = slices.Grow(buf[:0], int(key+value))[:key+value]
				_, err = io.ReadFull(r, buf)
			}
			if err != nil {
				yield(record{}, fmt.Errorf("read a temporary file: %w", err))
				return
			}
			if !yield(record{buf[:key], buf[key:]}, nil) {
				return
			}
		}
	}
}
