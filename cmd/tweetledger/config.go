package main

import (
	"crypto/rand"
	_ "embed" // the example configuration
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"tweetledger/adapters/twitter"
	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/ledger"
)

// defaultConfig is where the configuration is looked for without --config.
const defaultConfig = "tweetledger.toml"

// exampleConfig is what init writes: every setting with its default.
//
//go:embed tweetledger.toml
var exampleConfig string

// settings is the configuration file. Amounts are text in major units ("250.00"),
// so that no float touches them; times are like "48h".
type settings struct {
	Service      serviceSettings      `toml:"service"`
	Book         bookSettings         `toml:"book"`
	Rules        ruleSettings         `toml:"rules"`
	Twitter      twitterSettings      `toml:"twitter"`
	Notify       notifySettings       `toml:"notify"`
	Screening    screeningSettings    `toml:"screening"`
	Enrolment    enrolmentSettings    `toml:"enrolment"`
	Card         cardSettings         `toml:"card"`
	Safeguarding safeguardingSettings `toml:"safeguarding"`
	// Settlement are the acquirers, by name.
	Settlement map[string]settlementSettings `toml:"settlement"`

	Payouts   payoutSettings    `toml:"payouts"`
	Secret    secretSettings    `toml:"secret"`
	Seal      sealSettings      `toml:"seal"`
	Verify    verifySettings    `toml:"verify"`
	Reconcile reconcileSettings `toml:"reconcile"`

	folder string // of the file: relative names in it start here
	getenv func(string) string
}

type serviceSettings struct {
	BankName string `toml:"bank_name"`
	KeyFile  string `toml:"key_file"`
	PageURL  string `toml:"page_url"`
	Listen   string `toml:"listen"`
}

type bookSettings struct {
	FiscalYearStarts int `toml:"fiscal_year_starts"` // the month, 1 to 12

	named bool // the file has it: else the book knows
}

type ruleSettings struct {
	PersonCap         string   `toml:"person_cap"`
	CharityCap        string   `toml:"charity_cap"`
	BusinessCap       string   `toml:"business_cap"`
	WalletCeiling     string   `toml:"wallet_ceiling"`
	ConfirmationTerm  duration `toml:"confirmation_term"`
	UnclaimedTerm     duration `toml:"unclaimed_term"`
	UnclaimedReminder duration `toml:"unclaimed_reminder"`
	TextRetention     duration `toml:"text_retention"`
	LinkTerm          duration `toml:"link_term"`
	PageIdle          duration `toml:"page_idle"`
	SecretTries       int      `toml:"secret_tries"`
	DayAnswers        int      `toml:"day_answers"`
	IdentityYears     int      `toml:"identity_years"`
}

type twitterSettings struct {
	BankUserID    string   `toml:"bank_user_id"`
	BankHandle    string   `toml:"bank_handle"`
	Hashtags      []string `toml:"hashtags"`
	APIURL        string   `toml:"api_url"`
	TokenFile     string   `toml:"token_file"`
	UserTokenFile string   `toml:"user_token_file"`
	Compliance    bool     `toml:"compliance"`

	Stream            bool   `toml:"stream"`
	DirectMessages    bool   `toml:"direct_messages"`
	Webhook           bool   `toml:"webhook"`
	WebhookPath       string `toml:"webhook_path"`
	WebhookSecretFile string `toml:"webhook_secret_file"`

	ClientID         string `toml:"client_id"`
	ClientSecretFile string `toml:"client_secret_file"`
	AuthorizeURL     string `toml:"authorize_url"`
}

// screeningSettings are the rules that judge commands.
type screeningSettings struct {
	Velocity        payments.Verdict `toml:"velocity"`
	DayCount        int              `toml:"day_count"`
	DayAmount       string           `toml:"day_amount"`
	MonthCount      int              `toml:"month_count"`
	MonthAmount     string           `toml:"month_amount"`
	DayOrders       int              `toml:"day_orders"`
	NewPayee        payments.Verdict `toml:"new_payee"`
	NewPayeeAmount  string           `toml:"new_payee_amount"`
	ManyPayees      payments.Verdict `toml:"many_payees"`
	ManyPayeesCount int              `toml:"many_payees_count"`
	NearCap         payments.Verdict `toml:"near_cap"`
	NearCapMargin   string           `toml:"near_cap_margin"`
	NearCapCount    int              `toml:"near_cap_count"`
	LookAlike       payments.Verdict `toml:"look_alike"`
	DeniedIDs       []string         `toml:"denied_ids"`
	ReviewTerm      duration         `toml:"review_term"`
}

// rules returns the settings that are not amounts.
func (s screeningSettings) rules() payments.ScreeningConfig {
	rules := payments.ScreeningConfig{Velocity: s.Velocity, DayCount: s.DayCount, MonthCount: s.MonthCount, DayOrders: s.DayOrders, NewPayee: s.NewPayee,
		ManyPayees: s.ManyPayees, ManyPayeesCount: s.ManyPayeesCount, NearCap: s.NearCap, NearCapCount: s.NearCapCount,
		LookAlike: s.LookAlike, ReviewTerm: time.Duration(s.ReviewTerm)}
	if len(s.DeniedIDs) > 0 {
		rules.DeniedIDs = s.DeniedIDs
	}
	return rules
}

// enrolmentSettings say how people become customers by themselves.
type enrolmentSettings struct {
	Term         duration `toml:"term"`
	CardRequired bool     `toml:"card_required"`
	CodeTerm     duration `toml:"code_term"`
	CodeTries    int      `toml:"code_tries"`
	CodesHour    int      `toml:"codes_hour"`
	CodesDay     int      `toml:"codes_day"`
	CodesHourAll int      `toml:"codes_hour_all"`
}

func (s enrolmentSettings) rules() payments.EnrolmentConfig {
	return payments.EnrolmentConfig{Term: time.Duration(s.Term), CardRequired: s.CardRequired, CodeTerm: time.Duration(s.CodeTerm), CodeTries: s.CodeTries,
		CodesHour: s.CodesHour, CodesDay: s.CodesDay, CodesHourAll: s.CodesHourAll}
}

type safeguardingSettings struct {
	Name string `toml:"name"`
	IBAN string `toml:"iban"`
	BIC  string `toml:"bic"`
}

// payoutSettings say when "serve" prepares payouts by itself.
type payoutSettings struct {
	PrepareAt string `toml:"prepare_at"` // time of day in Europe/Paris; empty: never
}

// secretSettings are the costs of argon2id, which keeps secret codes.
type secretSettings struct {
	MemoryKiB   uint32 `toml:"memory_kib"`
	Iterations  uint32 `toml:"iterations"`
	Parallelism uint8  `toml:"parallelism"`
	Workers     int    `toml:"workers"`
}

// sealSettings say how heads are signed and announced.
type sealSettings struct {
	Book     string   `toml:"book"`
	KeyFile  string   `toml:"key_file"`
	Publish  bool     `toml:"publish"`
	Interval duration `toml:"interval"`
}

// verifySettings say how often "serve" verifies the book.
type verifySettings struct {
	Interval duration `toml:"interval"`
}

// duration reads "48h" from TOML.
type duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = duration(parsed)
	return err
}

// settings reads the configuration: the file that --config or TWEETLEDGER_CONFIG
// names, else tweetledger.toml where there is one, else the defaults alone.
func (a *app) settings() (settings, error) {
	file, named := a.configFile, true
	if file == "" {
		file = a.getenv("TWEETLEDGER_CONFIG")
	}
	if file == "" {
		file, named = defaultConfig, false
	}
	s := settings{folder: filepath.Dir(file), getenv: a.getenv}
	if _, err := toml.Decode(exampleConfig, &s); err != nil {
		return settings{}, fmt.Errorf("the default configuration: %w", err)
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) && !named {
		return s, nil
	}
	if err != nil {
		return settings{}, fmt.Errorf("read the configuration: %w", err)
	}
	meta, err := toml.Decode(string(text), &s)
	if err != nil {
		return settings{}, fmt.Errorf("%s: %w", file, err)
	}
	s.Book.named = meta.IsDefined("book", "fiscal_year_starts")
	if month := s.Book.FiscalYearStarts; month < 1 || month > 12 {
		return settings{}, ledger.Errorf(ledger.CodeInvalid, "book.fiscal_year_starts is %d; it is a month, 1 to 12", month).InField(file)
	}
	if path := s.Card.WebhookPath; !webhookPath.MatchString(path) || path == s.Twitter.WebhookPath {
		return settings{}, ledger.Errorf(ledger.CodeInvalid, "card.webhook_path is %q; write a path of its own like /webhooks/card", path).InField(file)
	}
	if path := s.Twitter.WebhookPath; !webhookPath.MatchString(path) {
		return settings{}, ledger.Errorf(ledger.CodeInvalid, "twitter.webhook_path is %q; write a path like /webhooks/x", path).InField(file)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return settings{}, ledger.Errorf(ledger.CodeInvalid, "there is no setting %s; \"tweetledger init\" in an empty folder writes a file with all there are",
			unknown[0]).InField(file)
	}
	return s, nil
}

// webhookPath is a path without surprises for whoever routes requests.
var webhookPath = regexp.MustCompile(`^(/[a-zA-Z0-9._-]+)+$`)

func (s settings) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(s.folder, name)
}

func (s settings) parser() twitter.Config {
	return twitter.Config{BankUserID: s.Twitter.BankUserID, BankHandle: s.Twitter.BankHandle, Hashtags: s.Twitter.Hashtags}
}

// payments returns the rules of the payment service, with its key.
func (s settings) payments() (payments.Config, error) {
	config := payments.DefaultConfig()
	config.BankName, config.BankHandle, config.PageURL = s.Service.BankName, s.Twitter.BankHandle, s.Service.PageURL
	config.Screening, config.Enrolment, config.Cards = s.Screening.rules(), s.Enrolment.rules(), s.Card.rules()
	for _, amount := range []struct {
		name string
		text string
		to   *ledger.Amount
	}{
		{"rules.person_cap", s.Rules.PersonCap, &config.PersonCap},
		{"rules.charity_cap", s.Rules.CharityCap, &config.CharityCap},
		{"rules.business_cap", s.Rules.BusinessCap, &config.BusinessCap},
		{"rules.wallet_ceiling", s.Rules.WalletCeiling, &config.WalletCeiling},
		{"screening.day_amount", s.Screening.DayAmount, &config.Screening.DayAmount},
		{"screening.month_amount", s.Screening.MonthAmount, &config.Screening.MonthAmount},
		{"screening.new_payee_amount", s.Screening.NewPayeeAmount, &config.Screening.NewPayeeAmount},
		{"card.minimum", s.Card.Minimum, &config.Cards.Minimum},
		{"card.maximum", s.Card.Maximum, &config.Cards.Maximum},
		{"card.day_amount", s.Card.DayAmount, &config.Cards.DayAmount},
		{"screening.near_cap_margin", s.Screening.NearCapMargin, &config.Screening.NearCapMargin},
	} {
		parsed, err := ledger.ParseAmount(amount.text, config.Currency)
		if err != nil {
			return payments.Config{}, fmt.Errorf("configuration, %s: %w", amount.name, err)
		}
		*amount.to = parsed
	}
	config.ConfirmationTerm = time.Duration(s.Rules.ConfirmationTerm)
	config.UnclaimedTerm = time.Duration(s.Rules.UnclaimedTerm)
	config.UnclaimedReminder = time.Duration(s.Rules.UnclaimedReminder)
	config.TextRetention = time.Duration(s.Rules.TextRetention)
	config.PageIdle = time.Duration(s.Rules.PageIdle)
	config.LinkTerm = time.Duration(s.Rules.LinkTerm)
	config.SecretTries, config.DayAnswers, config.IdentityYears = s.Rules.SecretTries, s.Rules.DayAnswers, s.Rules.IdentityYears
	config.Secret = payments.SecretParams{MemoryKiB: s.Secret.MemoryKiB, Iterations: s.Secret.Iterations,
		Parallelism: s.Secret.Parallelism, Workers: s.Secret.Workers}
	key, err := s.key()
	config.Key = key
	return config, err
}

// key returns the service's secret: TWEETLEDGER_KEY, else the key file.
func (s settings) key() ([]byte, error) {
	text, from := s.getenv("TWEETLEDGER_KEY"), "TWEETLEDGER_KEY"
	if text == "" {
		from = s.path(s.Service.KeyFile)
		read, err := os.ReadFile(from)
		if err != nil {
			return nil, fmt.Errorf("the service needs its key: %w; \"tweetledger init\" makes one", err)
		}
		text = string(read)
	}
	key, err := hex.DecodeString(strings.TrimSpace(text))
	if err != nil || len(key) < payments.MinKey {
		return nil, ledger.Errorf(ledger.CodeInvalid, "the key must be at least %d bytes in hexadecimal digits", payments.MinKey).InField(from)
	}
	return key, nil
}

// writeKey makes a new key in a file that must not exist.
func writeKey(name string) error {
	key := make([]byte, payments.MinKey)
	if _, err := rand.Read(key); err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(file, hex.EncodeToString(key))
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return err
}

// token returns a bearer token for X: from the environment, else from its file.
func (s settings) token(variable, file string) (string, error) {
	if token := s.getenv(variable); token != "" {
		return token, nil
	}
	if file == "" {
		return "", ledger.Errorf(ledger.CodeInvalid, "X needs a token: set %s, or name a file in the configuration", variable).InField(variable)
	}
	text, err := os.ReadFile(s.path(file))
	if err != nil {
		return "", fmt.Errorf("read the token for X: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

func (s settings) payouts() payouts.Config {
	return payouts.Config{Account: payouts.Party{Name: s.Safeguarding.Name, IBAN: s.Safeguarding.IBAN, BIC: s.Safeguarding.BIC}, Currency: ledger.EUR,
		Acquirers: s.acquirers()}
}
