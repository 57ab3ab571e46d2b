// Package render writes a reports.Table as text for people and as CSV and JSON
// for machines. It knows nothing of accounting.
package render

import (
	"io"
	"strings"

	"tweetledger/ledger"
	"tweetledger/reports"
)

// The formats by name.
const (
	FormatText = "text"
	FormatCSV  = "csv"
	FormatJSON = "json"
)

// Formats returns the names that Render accepts.
func Formats() []string { return []string{FormatText, FormatCSV, FormatJSON} }

// Render writes t in the format of that name, without regard to any terminal: a
// caller that has one uses Text. An unknown name is a ledger.Error with
// CodeInvalid that lists the known ones.
func Render(w io.Writer, format string, t reports.Table) error {
	switch format {
	case FormatText:
		return Text(w, t, TextOptions{})
	case FormatCSV:
		return CSV(w, t, CSVOptions{})
	case FormatJSON:
		return JSON(w, t)
	}
	return ledger.Errorf(ledger.CodeInvalid, "%q is not a report format; take one of %s",
		format, strings.Join(Formats(), ", ")).InField("format")
}
