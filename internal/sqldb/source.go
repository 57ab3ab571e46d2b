package sqldb

import (
	"fmt"
	"strings"
)

// source is what stands in a query where it reads a set of rows.
type source struct {
	columns []Column
	// text is a table function whose columns an alias names (servers).
	text string
	// Otherwise it is a subquery that names them itself: SQLite takes no names in an
	// alias. from is its FROM clause, and cell what it selects as column c.
	from string
	cell func(c int) string
}

// unnest returns the table function of servers that makes rows of arrays, which
// are the parameters from the first on.
func unnest(columns []Column, first int) string {
	var b strings.Builder
	b.WriteString("unnest(")
	for i, c := range columns {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "$%d::%s[]", first+i, c.Type)
	}
	b.WriteByte(')')
	return b.String()
}

// write appends the source under an alias, which may be empty, with the names of
// its columns.
func (s *source) write(b *strings.Builder, alias string, names []string) {
	if s.text != "" {
		b.WriteString(s.text)
		if alias != "" {
			b.WriteString(" AS " + alias + "(" + strings.Join(names, ", ") + ")")
		}
		return
	}
	b.WriteString("(SELECT ")
	for i, name := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(s.cell(i) + " AS " + name)
	}
	b.WriteString(s.from + ")")
	if alias != "" {
		b.WriteString(" AS " + alias)
	}
}

// setWord is how a query spells a set: alone, or with its number from 1 to 9.
const setWord = "ROWS"

// withSources puts the sources into a query, for the words ROWS1, ROWS2 … and
// their aliases.
func withSources(query string, sources []source) (string, error) {
	var b strings.Builder
	used := make([]bool, len(sources))
	last := byte(' ')
	for {
		at := strings.Index(query, setWord)
		if at < 0 {
			break
		}
		if at > 0 {
			last = query[at-1]
		}
		b.WriteString(query[:at])
		rest := query[at+len(setWord):]
		number := 1
		if rest != "" && rest[0] >= '1' && rest[0] <= '9' {
			number, rest = int(rest[0]-'0'), rest[1:]
		}
		if isWord(last) || rest != "" && isWord(rest[0]) { // a part of another word
			b.WriteString(query[at : len(query)-len(rest)])
			query, last = rest, setWord[len(setWord)-1]
			continue
		}
		if number > len(sources) {
			return "", fmt.Errorf("the query reads %s%d and has %d sets: %s", setWord, number, len(sources), query[at:])
		}
		s := &sources[number-1]
		alias, names, rest := cutAlias(rest)
		if names == nil {
			names = make([]string, len(s.columns))
			for i, c := range s.columns {
				names[i] = c.Name
			}
		}
		if len(names) != len(s.columns) {
			return "", fmt.Errorf("the query names %d columns of %s%d, which has %d: %s", len(names), setWord, number, len(s.columns), query[at:])
		}
		s.write(&b, alias, names)
		used[number-1] = true
		query, last = rest, ' '
	}
	for i, ok := range used {
		if !ok {
			return "", fmt.Errorf("the query does not read %s%d", setWord, i+1)
		}
	}
	b.WriteString(query)
	return b.String(), nil
}

// cutAlias takes " AS name" or " AS name(column, …)" off the beginning of text.
func cutAlias(text string) (alias string, columns []string, rest string) {
	after, ok := strings.CutPrefix(strings.TrimLeft(text, " \t\n"), "AS ")
	if !ok {
		return "", nil, text
	}
	after = strings.TrimLeft(after, " \t\n")
	end := 0
	for end < len(after) && isWord(after[end]) {
		end++
	}
	alias, rest = after[:end], after[end:]
	list, ok := strings.CutPrefix(strings.TrimLeft(rest, " \t\n"), "(")
	if !ok {
		return alias, nil, rest
	}
	list, rest, _ = strings.Cut(list, ")")
	for name := range strings.SplitSeq(list, ",") {
		columns = append(columns, strings.TrimSpace(name))
	}
	return alias, columns, rest
}

// isWord reports whether c is part of a name in SQL.
func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
