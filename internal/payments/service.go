package payments

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	_ "embed" // the default chart
	"encoding/csv"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// Options are what a Service may be given beside its rules. Zero values are fine.
type Options struct {
	Log    *slog.Logger // discards where nil
	Random io.Reader    // crypto/rand where nil
	Cards  Cards        // needed where Config.Enrolment asks for a card
	// Processor charges cards; nil: none are charged. Those that are registered with it
	// are Cards where these are nil.
	Processor CardProcessor
}

// Service is the payment service on one book. It is safe for concurrent use, and
// any number of processes may run one on the same book.
type Service struct {
	engine *engine.Engine
	db     *sqldb.DB
	config Config
	parser Parser
	log    *slog.Logger
	random io.Reader
	cards  Cards
	keys   keys
	// hashing holds a slot for every argon2id hash that may be computed at once.
	hashing   chan struct{}
	turns     *turns              // to have a secret code checked
	pauses    *pauses             // of channels that take nothing for a while
	denied    map[string]struct{} // user ids that neither pay nor are paid
	processor CardProcessor       // nil: none
	suspected suspicions
}

// keys are derived from Config.Key, one for each purpose.
type keys struct {
	text, pseudonym, token, binding, form, pepper, link, oneTime []byte
}

// New returns the service on the engine's book. The error is an Error with
// CodeInvalid that names the setting which is wrong.
func New(e *engine.Engine, config Config, parser Parser, opts Options) (*Service, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("payments: %w", err)
	}
	s := &Service{engine: e, db: e.DB(), config: config, parser: parser, log: opts.Log, random: opts.Random, cards: opts.Cards, processor: opts.Processor,
		hashing: make(chan struct{}, config.Secret.Workers), turns: newTurns(), pauses: &pauses{at: map[lane]time.Time{}}, denied: map[string]struct{}{}}
	if s.cards == nil && s.processor != nil {
		s.cards = registeredCards{}
	}
	if config.Enrolment.CardRequired && s.cards == nil {
		return nil, fmt.Errorf("payments: %w", ledger.Errorf(ledger.CodeInvalid, "no payment cards can be registered here, so none can be asked for").InField("enrolment.card_required"))
	}
	for _, id := range config.Screening.DeniedIDs {
		s.denied[id] = struct{}{}
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.random == nil {
		s.random = rand.Reader
	}
	derive := func(purpose string) []byte { return mac(config.Key, []byte(purpose)) }
	s.keys = keys{text: derive("message text"), pseudonym: derive("pseudonym"), token: derive("confirmation token"),
		binding: derive("order binding"), form: derive("confirmation form"), pepper: derive("secret code"), link: derive("link"), oneTime: derive("one-time code")}
	return s, nil
}

// Engine returns the ledger engine that the service posts through.
func (s *Service) Engine() *engine.Engine { return s.engine }

// Config returns the rules of the service, without its key.
func (s *Service) Config() Config {
	config := s.config
	config.Key = nil
	return config
}

// mac returns the HMAC-SHA256 of parts, each prefixed with its length.
func mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	for _, part := range parts {
		n := uint64(len(part))
		h.Write([]byte{byte(n >> 56), byte(n >> 48), byte(n >> 40), byte(n >> 32), byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
		h.Write(part)
	}
	return h.Sum(nil)
}

func (s *Service) newID() (uuid.UUID, error) {
	id, err := uuid.NewRandomFromReader(s.random)
	if err != nil {
		return uuid.Nil, fmt.Errorf("make an id: %w", err)
	}
	return id, nil
}

// The codes of the accounts that every book has. Their ids follow from the codes
// (ledger.SystemAccountID).
const (
	AccountCardsToSettle      = "cards-to-settle"
	AccountSafeguarding       = "safeguarding-account"
	AccountOwn                = "own-account"
	AccountUnclaimed          = "unclaimed-payments"
	AccountPayoutsInTransit   = "payouts-in-transit"
	AccountSuspense           = "suspense"
	AccountCommissions        = "commissions"
	AccountCardFees           = "card-fees"
	AccountCustomerReceivable = "customer-receivable"
	// AccountVAT is opened with the first terms that have VAT on the commission:
	// payment services are exempt unless a bank has opted for it (CGI art. 261 C, 260 B).
	AccountVAT = "vat-collected"
)

// systemAccounts returns the accounts that every book has.
func systemAccounts(currency ledger.Currency) []ledger.Account {
	account := func(code, name string, category ledger.Category, side ledger.Side) ledger.Account {
		return systemAccount(code, name, category, side, currency)
	}
	return []ledger.Account{
		account(AccountCardsToSettle, "Cards to be settled", ledger.CardsToSettle, ledger.Debit),
		account(AccountSafeguarding, "Safeguarding bank account", ledger.Safeguarding, ledger.Debit),
		account(AccountOwn, "Own bank account", ledger.OwnAccount, ledger.Debit),
		account(AccountUnclaimed, "Unclaimed payments", ledger.Unclaimed, ledger.Credit),
		account(AccountPayoutsInTransit, "Payouts in transit", ledger.PayoutsInTransit, ledger.Credit),
		account(AccountSuspense, "Suspense", ledger.Suspense, ledger.Credit),
		account(AccountCommissions, "Commissions", ledger.Commissions, ledger.Credit),
		account(AccountCardFees, "Card fees", ledger.CardFees, ledger.Debit),
		account(AccountCustomerReceivable, "Customer receivable", ledger.CustomerReceivable, ledger.Debit),
	}
}

func systemAccount(code, name string, category ledger.Category, side ledger.Side, currency ledger.Currency) ledger.Account {
	return ledger.Account{ID: ledger.SystemAccountID(code), Code: code, Name: name, Category: category, Side: side,
		Currency: currency, Shards: systemShards, Status: ledger.AccountOpen}
}

// IsSystemAccount reports whether an account is one that every book has, or AccountVAT:
// the service posts to it, whatever else is posted there.
func IsSystemAccount(code string) bool {
	return code == AccountVAT || slices.ContainsFunc(systemAccounts(ledger.EUR), func(a ledger.Account) bool { return a.Code == code })
}

// systemShards spreads the balance rows of the accounts that all customers' money
// passes through, so that several nodes can post to them at once.
const systemShards = 8

// Setup opens the accounts that every book has and gives categories without an
// entry their number in the default chart. Run again it changes nothing.
func (s *Service) Setup(ctx context.Context) error {
	for _, account := range systemAccounts(s.config.Currency) {
		if _, err := s.engine.OpenAccount(ctx, account); err != nil {
			return fmt.Errorf("open account %s: %w", account.Code, err)
		}
	}
	defaults, err := defaultChart()
	if err != nil {
		return err
	}
	var has map[ledger.Category]ledger.ChartEntry
	err = s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		has, err = engine.Chart(ctx, tx, endOfTime)
		return err
	})
	if err != nil {
		return fmt.Errorf("read the chart: %w", err)
	}
	var missing []ledger.ChartEntry
	for _, entry := range defaults {
		if _, ok := has[entry.Category]; !ok {
			missing = append(missing, entry)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if err := s.engine.SetChart(ctx, missing); err != nil {
		return fmt.Errorf("set the default chart: %w", err)
	}
	return nil
}

// endOfTime is after every entry of a chart.
var endOfTime = ledger.Date{Year: 9999, Month: time.December, Day: 31}

//go:embed chart.csv
var chartCSV []byte

// defaultChart reads the embedded chart: category, valid_from, number, label.
func defaultChart() ([]ledger.ChartEntry, error) {
	rows, err := csv.NewReader(bytes.NewReader(chartCSV)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("the embedded chart: %w", err)
	}
	entries := make([]ledger.ChartEntry, 0, len(rows))
	for i, row := range rows[1:] {
		from, err := ledger.ParseDate(row[1])
		if err != nil {
			return nil, fmt.Errorf("the embedded chart, line %d: %w", i+2, err)
		}
		entry := ledger.ChartEntry{Category: ledger.Category(row[0]), ValidFrom: from, Number: row[2], Label: row[3]}
		if err := entry.Validate(); err != nil {
			return nil, fmt.Errorf("the embedded chart, line %d: %w", i+2, err)
		}
		entries = append(entries, entry)
	}
	return entries, nil
}
