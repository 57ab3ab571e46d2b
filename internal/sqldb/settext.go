package sqldb

import (
	"fmt"
	"slices"
	"sync"
)

// setTexts makes an engine's text of queries over sets, and keeps it: a batch
// asks for the same few again and again, thousands of times a second.
type setTexts struct {
	engine Engine
	mu     sync.Mutex
	kept   map[setShape]setText
}

// setShape is by what a text is found: the query, and which of its sets have a
// single row, a bit each.
type setShape struct {
	query  string
	single int
}

// setText is a text with the columns of the sets that it was made for.
type setText struct {
	columns [][]Column
	text    string
}

// maxSetTexts bounds the texts that are kept: the service has some fifty.
const maxSetTexts = 1000

func newSetTexts(engine Engine) *setTexts {
	return &setTexts{engine: engine, kept: map[setShape]setText{}}
}

// of returns the text of a query for the sets. Its parameters are those of the
// sets in their order: a column each on servers, a value each where SQLite reads
// one row, and otherwise the handle.
func (t *setTexts) of(query string, sets []RowSet) (string, error) {
	shape := setShape{query: query}
	for k, set := range sets {
		if set.N == 1 {
			shape.single |= 1 << k
		}
	}
	t.mu.Lock()
	kept, ok := t.kept[shape]
	t.mu.Unlock()
	if ok && slices.EqualFunc(kept.columns, sets, func(columns []Column, set RowSet) bool { return slices.Equal(columns, set.Columns) }) {
		return kept.text, nil
	}
	made, err := t.make(query, sets)
	if err != nil {
		return "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.kept) < maxSetTexts {
		t.kept[shape] = made
	}
	return made.text, nil
}

func (t *setTexts) make(query string, sets []RowSet) (setText, error) {
	made := setText{columns: make([][]Column, len(sets))}
	sources := make([]source, len(sets))
	next := 1 // parameter
	for k, set := range sets {
		first := next
		made.columns[k] = slices.Clone(set.Columns)
		s := source{columns: made.columns[k]}
		switch {
		case t.engine != SQLite:
			s.text = unnest(set.Columns, first)
			next += len(set.Columns)
		case set.N == 1: // values need no table
			s.cell = func(c int) string { return fmt.Sprintf("$%d", first+c) }
			next += len(set.Columns)
		default:
			s.from = fmt.Sprintf(" FROM %s($%d)", rowsetTable, first)
			s.cell = func(c int) string { return fmt.Sprintf("c%d", c) }
			next++
		}
		sources[k] = s
	}
	var err error
	made.text, err = withSources(query, sources)
	return made, err
}
