package payouts

import (
	"time"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// Party is one side of a credit transfer, in the words of ISO 20022.
type Party struct {
	Name string
	IBAN string // without spaces
	BIC  string // may be empty: since 2016 the IBAN is enough within SEPA
}

// CreditTransfer is one payment of a PaymentFile.
type CreditTransfer struct {
	EndToEndID string // 35 characters at most, unique for ever
	Amount     ledger.Amount
	Creditor   Party
	Address    payments.Address // of the creditor; empty where it is not known
	Remittance string           // unstructured, 140 characters at most
}

// PaymentFile is what the bank is told to pay: the content of a pain.001.
type PaymentFile struct {
	MessageID     string // 35 characters at most
	CreatedAt     time.Time
	ExecutionDate ledger.Date
	Currency      ledger.Currency
	Debtor        Party
	Transfers     []CreditTransfer
}

// Statement is a bank account's statement, as its camt.053 (or another format)
// says it. Amounts are signed as the account holder sees them: money in is
// positive. Adapters have checked that it adds up.
type Statement struct {
	ID          string // as the bank numbers it; unique for the account
	Sequence    int64  // electronic sequence number; 0 where the bank gives none
	IBAN        string
	Currency    ledger.Currency
	OpeningDate ledger.Date
	Opening     ledger.Amount
	ClosingDate ledger.Date
	Closing     ledger.Amount
	Entries     []Entry
	Hash        [32]byte // SHA-256 of the statement's content, the same at every import
}

// Entry is one movement of a statement. A batch booking has Details, whose
// amounts add up to the entry's.
type Entry struct {
	Reference   string // the bank's own (AcctSvcrRef); may be empty
	Amount      ledger.Amount
	Reversal    bool // RvslInd
	BookingDate ledger.Date
	ValueDate   ledger.Date
	Details     []Detail // at least one
	Line        int      // in the file, for messages
}

// Detail is one transaction of an entry.
type Detail struct {
	EndToEndID   string // may be empty or NOTPROVIDED
	MessageID    string // of the batch that it belongs to; may be empty
	Amount       ledger.Amount
	Counterparty Party
	Remittance   string
	ReturnReason string // ISO code such as AC04, where money comes back
}
