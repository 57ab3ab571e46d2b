package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tweetledger/adapters/bank"
	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/reports"
)

// settlementSettings say how an acquirer writes its settlement files, and how its
// transfers look on the bank account.
type settlementSettings struct {
	Separator string `toml:"separator"`
	Decimal   string `toml:"decimal"`
	Group     string `toml:"group"`
	Encoding  string `toml:"encoding"`
	Date      string `toml:"date"`
	Skip      int    `toml:"skip"`
	Currency  string `toml:"currency"`

	Columns struct {
		Kind      string `toml:"kind"`
		Charge    string `toml:"charge"`
		Reference string `toml:"reference"`
		Gross     string `toml:"gross"`
		Fee       string `toml:"fee"`
		Net       string `toml:"net"`
		Currency  string `toml:"currency"`
		SettledOn string `toml:"settled_on"`
		Payout    string `toml:"payout"`
	} `toml:"columns"`
	Kinds           map[string][]string `toml:"kinds"`
	NegativeFees    bool                `toml:"negative_fees"`
	PositiveRefunds bool                `toml:"positive_refunds"`

	BankName string `toml:"bank_name"`
	Days     int    `toml:"days"`
}

func (s settlementSettings) layout() bank.SettlementLayout {
	return bank.SettlementLayout{Separator: s.Separator, Decimal: s.Decimal, Group: s.Group, Encoding: s.Encoding, Date: s.Date, Skip: s.Skip, Currency: s.Currency,
		Columns: bank.SettlementColumns(s.Columns), Kinds: s.Kinds, NegativeFees: s.NegativeFees, PositiveRefunds: s.PositiveRefunds}
}

// acquirers are the configured ones, in order of their names.
func (s settings) acquirers() []payouts.Acquirer {
	var list []payouts.Acquirer
	for _, name := range slices.Sorted(maps.Keys(s.Settlement)) {
		list = append(list, payouts.Acquirer{Name: name, BankName: s.Settlement[name].BankName, Days: s.Settlement[name].Days})
	}
	return list
}

func (a *app) settlementCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "settlement", Short: "Take in the settlement files of card acquirers",
		Long: `A settlement file says which charges, refunds and chargebacks an acquirer's transfer to
the safeguarding account consists of, and what it keeps as fees. The transfer itself is
booked by "tweetledger statement import", so import the settlement file first.`,
	}
	command.AddCommand(a.settlementImportCommand(), a.settlementListCommand(), a.settlementPayoutsCommand())
	return command
}

func (a *app) settlementImportCommand() *cobra.Command {
	var actor, acquirer string
	c := &cobra.Command{
		Use: "import FILE…", Short: "Keep settlement files (CSV); \"-\" is standard input",
		Long: `import keeps the lines of an acquirer's settlement files, which the section
[settlement.NAME] of the configuration says how to read. A file is kept whole or not at
all. The same file twice is kept once; another one of the same name is refused, and
kept as a finding. Files after one that is refused are still read, and the exit code is 1.`,
		Example: `  tweetledger settlement import --acquirer stripe payout-reconciliation.csv`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.settings()
			if err != nil {
				return err
			}
			layout, ok := s.Settlement[acquirer]
			if !ok {
				return ledger.Errorf(ledger.CodeInvalid, "the configuration has no section [settlement.%s]; it has: %s", ledger.Clip(acquirer),
					strings.Join(slices.Sorted(maps.Keys(s.Settlement)), ", ")).InField("acquirer")
			}
			if err := layout.layout().Check(); err != nil {
				return fmt.Errorf("configuration, settlement.%s: %w", acquirer, err)
			}
			service, err := a.openPayouts(c.Context())
			if err != nil {
				return err
			}
			return a.eachFile(args, func(in io.Reader, label string) []error {
				r, err := service.ImportSettlement(c.Context(), acquirer, filepath.Base(label), bank.ReadSettlement(in, label, layout.layout()), a.actor(actor))
				switch {
				case err != nil:
					return []error{inFile(label, err)}
				case r.Already:
					fmt.Fprintf(a.out, "%s: settlement file %s was imported before; nothing changed\n", label, r.File.FileID)
				default:
					fmt.Fprintf(a.out, "%s: kept settlement file %s: %s of %s\n", label, r.File.FileID, count(r.File.Lines, "line"), count(r.Payouts, "payout"))
				}
				return nil
			})
		},
	}
	actorFlag(c, &actor)
	c.Flags().StringVar(&acquirer, "acquirer", "", "whose files they are, as the configuration names it")
	required(c, "acquirer")
	return c
}

func (a *app) settlementListCommand() *cobra.Command {
	var acquirer, format string
	c := &cobra.Command{
		Use: "list", Short: "List the settlement files that were imported, the newest first",
		Long:    `list shows the last ` + fmt.Sprint(payouts.MaxPage) + ` settlement files that were read to their end.`,
		Example: `  tweetledger settlement list --acquirer stripe`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			table := reports.Table{
				Name: "settlement_files", Title: "Settlement files", GeneratedAt: book.Now(),
				Columns: []reports.Column{
					{Name: "acquirer", Title: "Acquirer", Kind: reports.Text}, {Name: "file", Title: "File", Kind: reports.Text},
					{Name: "lines", Title: "Lines", Kind: reports.Integer}, {Name: "imported_by", Title: "Imported by", Kind: reports.Text},
					{Name: "imported_at", Title: "Imported at", Kind: reports.Instant},
				},
			}
			var list []payouts.SettlementFile
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				list, err = payouts.ListSettlementFiles(ctx, tx, payouts.SettlementFileFilter{Acquirer: acquirer, Limit: payouts.MaxPage})
				return err
			})
			if err != nil {
				return err
			}
			for _, f := range list {
				table.Rows = append(table.Rows, reports.Row{Cells: []any{f.Acquirer, f.FileID, int64(f.Lines), f.ImportedBy, f.ImportedAt}})
			}
			return a.show(table, format, "")
		},
	}
	c.Flags().StringVar(&acquirer, "acquirer", "", "only of this acquirer")
	formatFlag(c, &format)
	return c
}

func (a *app) settlementPayoutsCommand() *cobra.Command {
	var acquirer, format string
	var open bool
	c := &cobra.Command{
		Use: "payouts", Short: "List acquirers' transfers to the bank account, and whether the bank has shown them",
		Long: `payouts shows what the lines of each transfer come to: gross is what charges come to,
less refunds and chargebacks; fee is what the acquirer keeps; net is what it transfers.
At most ` + fmt.Sprint(payouts.MaxPage) + ` are shown.`,
		Example: `  tweetledger settlement payouts --open`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			table := reports.Table{
				Name: "settlement_payouts", Title: "Card settlements", GeneratedAt: book.Now(),
				Columns: []reports.Column{
					{Name: "acquirer", Title: "Acquirer", Kind: reports.Text}, {Name: "payout", Title: "Payout", Kind: reports.Text},
					{Name: "settled_on", Title: "Settled", Kind: reports.Day}, {Name: "lines", Title: "Lines", Kind: reports.Integer},
					{Name: "gross", Title: "Gross", Kind: reports.Money}, {Name: "fee", Title: "Fee", Kind: reports.Money}, {Name: "net", Title: "Net", Kind: reports.Money},
					{Name: "booked", Title: "On the bank account", Kind: reports.Flag},
				},
			}
			var list []payouts.CardPayout
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				list, err = payouts.ListCardPayouts(ctx, tx, payouts.CardPayoutFilter{Acquirer: acquirer, Open: open, Limit: payouts.MaxPage})
				return err
			})
			if err != nil {
				return err
			}
			for _, p := range list {
				cash := func(amount ledger.Amount) reports.Cash { return reports.Cash{Amount: amount, Currency: p.Currency} }
				table.Rows = append(table.Rows, reports.Row{Cells: []any{p.Acquirer, p.PayoutReference, p.SettledOn, int64(p.Lines), cash(p.Gross), cash(p.Fee), cash(p.Net),
					p.Entry > 0}})
			}
			return a.show(table, format, "")
		},
	}
	c.Flags().StringVar(&acquirer, "acquirer", "", "only of this acquirer")
	c.Flags().BoolVar(&open, "open", false, "only those that no statement has shown yet")
	formatFlag(c, &format)
	return c
}
