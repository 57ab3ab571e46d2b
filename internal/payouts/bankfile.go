package payouts

import (
	"iter"

	"tweetledger/ledger"
)

// MessageKind tells what a bank sends apart.
type MessageKind string

// The kinds of message. A notification announces movements that a later statement
// books; it has no balances and books nothing itself.
const (
	KindStatement    MessageKind = "statement"
	KindNotification MessageKind = "notification"
)

// BankFile is what a bank's file holds, read part by part, so that a file of any
// length takes no more memory than its longest entry: for each statement or
// notification its Head, its entries in order, and its End. An error ends it, and
// then nothing of the file counts.
type BankFile = iter.Seq2[Part, error]

// Part is one part of a bank's file: exactly one of its fields is set.
type Part struct {
	Head  *Head
	Entry *Entry
	End   *End
}

// Head is what is known of a statement or notification before its entries.
type Head struct {
	Kind        MessageKind
	ID          string // as the bank numbers it; unique for the account and kind
	Sequence    int64  // electronic sequence number; 0 where the bank gives none
	IBAN        string
	Currency    ledger.Currency // empty: a notification without entries
	OpeningDate ledger.Date     // of a statement, as is Opening
	Opening     ledger.Amount
	Place       string // file, line and element, for messages
}

// End is what is known of a statement or notification after its entries.
type End struct {
	ClosingDate ledger.Date // of a statement, as is Closing
	Closing     ledger.Amount
	Pending     int    // entries that are not booked, and were left out
	Place       string // file, line and element, for messages
}

// Parts returns a statement that is in memory as a bank's file that holds nothing else.
func (s Statement) Parts() BankFile {
	return func(yield func(Part, error) bool) {
		head := Head{Kind: KindStatement, ID: s.ID, Sequence: s.Sequence, IBAN: s.IBAN, Currency: s.Currency, OpeningDate: s.OpeningDate, Opening: s.Opening}
		if !yield(Part{Head: &head}, nil) {
			return
		}
		for i := range s.Entries {
			if !yield(Part{Entry: &s.Entries[i]}, nil) {
				return
			}
		}
		yield(Part{End: &End{ClosingDate: s.ClosingDate, Closing: s.Closing}}, nil)
	}
}

// CollectStatements reads all statements of a file into memory, for files that are
// known to be short. Notifications in it are left out.
func CollectStatements(file BankFile) ([]Statement, error) {
	var list []Statement
	var st *Statement
	for part, err := range file {
		switch {
		case err != nil:
			return nil, err
		case part.Head != nil:
			st = nil
			if h := part.Head; h.Kind == KindStatement {
				st = &Statement{ID: h.ID, Sequence: h.Sequence, IBAN: h.IBAN, Currency: h.Currency, OpeningDate: h.OpeningDate, Opening: h.Opening}
			}
		case st == nil:
		case part.Entry != nil:
			st.Entries = append(st.Entries, *part.Entry)
		case part.End != nil:
			st.ClosingDate, st.Closing = part.End.ClosingDate, part.End.Closing
			st.Hash = st.ContentHash()
			list = append(list, *st)
		}
	}
	return list, nil
}
