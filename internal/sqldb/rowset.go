package sqldb

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/google/uuid"
	"modernc.org/sqlite/vtab"
)

// rowsetTable is the name of the virtual table through which one statement on
// SQLite reads rows of this process: SELECT c0, c1 FROM rowset(?), where the
// argument is the handle of a set in the connection's registry.
const rowsetTable = "rowset"

// maxRowsetColumns is how many columns the virtual table declares. The widest
// table of the schema has fewer than twenty.
const maxRowsetColumns = 32

// rowset is the values of some rows, row after row.
type rowset struct {
	width, length int
	values        []any
}

// rowsets are the sets that statements of one DB are reading, by handle. It is
// the module of the virtual table on the connections of that DB.
type rowsets struct {
	mu   sync.Mutex
	last int64
	sets map[int64]*rowset
}

func newRowsets() *rowsets { return &rowsets{sets: map[int64]*rowset{}} }

// add hands a set over and returns its handle, which the caller must remove.
func (r *rowsets) add(s *rowset) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	r.sets[r.last] = s
	return r.last
}

func (r *rowsets) remove(handles []int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, handle := range handles {
		delete(r.sets, handle)
	}
}

func (r *rowsets) find(handle int64) *rowset {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sets[handle]
}

// Create implements vtab.Module.
func (r *rowsets) Create(c vtab.Context, args []string) (vtab.Table, error) {
	return r.Connect(c, args)
}

// Connect implements vtab.Module.
func (r *rowsets) Connect(c vtab.Context, _ []string) (vtab.Table, error) {
	var columns strings.Builder
	for i := range maxRowsetColumns {
		fmt.Fprintf(&columns, "c%d, ", i)
	}
	// Columns without a type: a value is compared and stored as it is handed over.
	if err := c.Declare("CREATE TABLE x (" + columns.String() + "handle HIDDEN)"); err != nil {
		return nil, fmt.Errorf("declare %s: %w", rowsetTable, err)
	}
	return rowsetReader{r}, nil
}

// rowsetReader is the virtual table of one connection.
type rowsetReader struct{ sets *rowsets }

// withHandle is the one plan that the table has.
const withHandle = 1

// scanCost is what the planner is told that reading a set costs: so much that it
// reads the set once and looks every row up in the other tables of a join, and
// never the other way round, which would read the set for every row of a table.
const scanCost = 1e9

// BestIndex implements vtab.Table.
func (rowsetReader) BestIndex(info *vtab.IndexInfo) error {
	for i := range info.Constraints {
		c := &info.Constraints[i]
		if c.Column == maxRowsetColumns && c.Op == vtab.OpEQ && c.Usable {
			c.ArgIndex, c.Omit = 0, true
			info.IdxNum, info.EstimatedCost, info.EstimatedRows = withHandle, scanCost, 100
			break
		}
	}
	return nil
}

// Open implements vtab.Table.
func (t rowsetReader) Open() (vtab.Cursor, error) {
	c := &rowsetCursor{sets: t.sets}
	c.idValue, c.hashValue = c.id[:], c.hash[:]
	return c, nil
}

// Disconnect implements vtab.Table.
func (rowsetReader) Disconnect() error { return nil }

// Destroy implements vtab.Table.
func (rowsetReader) Destroy() error { return nil }

// rowsetCursor is one scan of a set.
type rowsetCursor struct {
	sets *rowsets
	set  *rowset
	row  int
	// The driver copies a value before it asks for the next, so that all ids and all
	// hashes of a scan can be handed over in the same slice.
	id                 uuid.UUID
	hash               [32]byte
	idValue, hashValue any // []byte of the above
}

// Filter implements vtab.Cursor: it begins a scan.
func (c *rowsetCursor) Filter(plan int, _ string, args []vtab.Value) error {
	if plan != withHandle || len(args) != 1 {
		return errors.New(rowsetTable + " is read with the handle of a set alone")
	}
	handle, ok := args[0].(int64)
	if ok {
		c.set = c.sets.find(handle)
	}
	if !ok || c.set == nil {
		return fmt.Errorf("%s has no set with the handle %v", rowsetTable, args[0])
	}
	c.row = 0
	return nil
}

// Next implements vtab.Cursor.
func (c *rowsetCursor) Next() error {
	c.row++
	return nil
}

// Eof implements vtab.Cursor.
//
//nolint:staticcheck // the interface says Eof
func (c *rowsetCursor) Eof() bool { return c.set == nil || c.row >= c.set.length }

// Column implements vtab.Cursor.
func (c *rowsetCursor) Column(i int) (driver.Value, error) {
	if i >= c.set.width {
		return nil, fmt.Errorf("the set of rows has %d columns, and not the column c%d", c.set.width, i)
	}
	switch v := c.set.values[c.row*c.set.width+i].(type) {
	case uuid.UUID:
		c.id = v
		return c.idValue, nil
	case [32]byte:
		c.hash = v
		return c.hashValue, nil
	default:
		return v, nil
	}
}

// Rowid implements vtab.Cursor.
func (c *rowsetCursor) Rowid() (int64, error) { return int64(c.row), nil }

// Close implements vtab.Cursor.
func (c *rowsetCursor) Close() error { return nil }
