package bank

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"tweetledger/internal/payouts"
	"tweetledger/ledger"
)

// Format is a format of files that a bank sends.
type Format string

// The formats. FormatAuto finds out from the first bytes.
const (
	FormatAuto  Format = "auto"
	FormatCamt  Format = "camt"  // camt.053 and camt.054: ReadCamt
	FormatCFONB Format = "cfonb" // CFONB 120: ReadCFONB
)

// ParseFormat returns the format of a name, or CodeInvalid.
func ParseFormat(name string) (Format, error) {
	formats := []Format{FormatAuto, FormatCamt, FormatCFONB}
	if !slices.Contains(formats, Format(name)) {
		return "", ledger.Errorf(ledger.CodeInvalid, "there is no format %q; choose auto, camt or cfonb", ledger.Clip(name)).InField("format")
	}
	return Format(name), nil
}

// Read reads a bank's file of the given format; see ReadCamt and ReadCFONB. name
// stands for the file in messages.
func Read(r io.Reader, name string, format Format) payouts.BankFile {
	in := bufio.NewReader(r)
	if format == FormatAuto {
		var err error
		if format, err = recognise(in, name); err != nil {
			return reading(func(func(payouts.Part) error) error { return err })
		}
	}
	if format == FormatCFONB {
		return ReadCFONB(in, name)
	}
	return ReadCamt(in, name)
}

// recognise looks at the start of a file: a record 01 of CFONB begins with digits and
// the bank's number, everything else is for the reader of XML to refuse, unless it is
// plainly another kind of file.
func recognise(in *bufio.Reader, name string) (Format, error) {
	const enough = 512
	start, err := in.Peek(enough)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	start = bytes.TrimLeft(bytes.TrimPrefix(start, []byte(byteOrderMark)), " \t\r\n")
	switch {
	case len(start) == 0 || start[0] == '<':
		return FormatCamt, nil
	case len(start) > 7 && strings.Trim(string(start[:7]), "0123456789") == "" && start[0] == '0':
		return FormatCFONB, nil
	}
	return "", ledger.Errorf(ledger.CodeInvalid, "this is neither XML nor CFONB 120; choose the statement that the bank sent").InField(placeIn(name, 1, ""))
}
