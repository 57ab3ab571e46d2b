package payouts

import (
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// Config says which bank account payouts leave from.
type Config struct {
	// Account is the safeguarding account: the debtor of payment files, and the
	// only account whose statements are taken.
	Account  Party
	Currency ledger.Currency // of the account and of all payouts
	// Acquirers are those whose transfers are known by amount, date and name where
	// the bank does not give their reference.
	Acquirers []Acquirer
}

// Options of a Service. The zero value is ready for use.
type Options struct {
	Log    *slog.Logger // nil discards
	Random io.Reader    // for ids; nil is crypto/rand
}

// Service pays out what the book owes. It is safe for concurrent use, by any
// number of processes on one database.
type Service struct {
	engine *engine.Engine
	db     *sqldb.DB
	config Config
	log    *slog.Logger
	random io.Reader
}

// New makes the service. The accounts of the book must have been opened
// (payments.Service.Setup). The error is a ledger.Error with CodeInvalid where the
// configured account cannot be a debtor of SEPA transfers.
func New(e *engine.Engine, config Config, opts Options) (*Service, error) {
	iban, err := payments.ParseIBAN(config.Account.IBAN)
	if err != nil {
		return nil, ledger.Errorf(ledger.CodeInvalid, "the safeguarding account: %w", err).InField("account")
	}
	config.Account.IBAN = iban
	if config.Account.BIC != "" {
		if config.Account.BIC, err = payments.ParseBIC(config.Account.BIC); err != nil {
			return nil, ledger.Errorf(ledger.CodeInvalid, "the safeguarding account: %w", err).InField("account")
		}
	}
	if !ledger.Printable(config.Account.Name, maxName) {
		return nil, ledger.Errorf(ledger.CodeInvalid, "the safeguarding account needs its holder's name, at most %d bytes", maxName).InField("account.name")
	}
	if config.Currency != ledger.EUR {
		return nil, ledger.Errorf(ledger.CodeInvalid, "payouts go by SEPA credit transfer, which is in EUR, not in %q", string(config.Currency)).InField("currency")
	}
	s := &Service{engine: e, db: e.DB(), config: config, log: opts.Log, random: opts.Random}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.random == nil {
		s.random = rand.Reader
	}
	return s, nil
}

// Config returns the service's configuration.
func (s *Service) Config() Config { return s.config }

// Bounds of texts, in bytes.
const (
	maxActor = 64
	maxName  = 120
)

// bookAccounts are the accounts of the book that payouts go through.
type bookAccounts struct{ safeguarding, inTransit, commissions, vat, suspense, cards, cardFees uuid.UUID }

func accounts() bookAccounts {
	return bookAccounts{
		safeguarding: ledger.SystemAccountID(payments.AccountSafeguarding),
		inTransit:    ledger.SystemAccountID(payments.AccountPayoutsInTransit),
		commissions:  ledger.SystemAccountID(payments.AccountCommissions),
		vat:          ledger.SystemAccountID(payments.AccountVAT),
		suspense:     ledger.SystemAccountID(payments.AccountSuspense),
		cards:        ledger.SystemAccountID(payments.AccountCardsToSettle),
		cardFees:     ledger.SystemAccountID(payments.AccountCardFees),
	}
}

func (s *Service) newID() (uuid.UUID, error) {
	id, err := uuid.NewRandomFromReader(s.random)
	if err != nil {
		return uuid.Nil, fmt.Errorf("make an id: %w", err)
	}
	return id, nil
}

func checkActor(actor string) error {
	if !ledger.Printable(actor, maxActor) {
		return ledger.Errorf(ledger.CodeInvalid, "say who does this, in 1 to %d bytes of printable text", maxActor).InField("actor")
	}
	return nil
}
