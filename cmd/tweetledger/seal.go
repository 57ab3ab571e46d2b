package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"tweetledger/adapters/twitter"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
	"tweetledger/reports"
)

func (a *app) sealCommand() *cobra.Command {
	c := &cobra.Command{Use: "seal", Short: "Number and chain what was posted, and sign where the chains end"}
	c.AddCommand(a.sealRunCommand(), a.sealStatusCommand(), a.sealKeygenCommand(), a.sealHeadsCommand(), a.sealPublishCommand())
	return c
}

// holder names this process among those that share a book: two processes in two
// containers may have the same host name and the same number.
func holder() string {
	host, err := os.Hostname()
	if err != nil || !ledger.Printable(host, maxHostName) {
		host = "unknown"
	}
	return fmt.Sprintf("%s:%d:%s", host, os.Getpid(), uuid.NewString()[:8])
}

// maxHostName is that of DNS, and far below what a lease's holder may take.
const maxHostName = 63

func (a *app) sealRunCommand() *cobra.Command {
	return &cobra.Command{
		Use: "run", Short: "Seal what waits now",
		Example: `  tweetledger seal run`,
		Long: `run gives every transaction that waits its number, gapless in its journal and fiscal
year, and its link of the chain. "tweetledger serve" does so every second; run is for
books that nobody serves, and for who cannot wait, such as before heads are signed. Only
one process seals at a time: where another one does, run refuses and names it.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			lease := &heldLease{book: book, name: engine.SealerLease, holder: holder()}
			defer func() { err = errors.Join(err, lease.release(c.Context())) }()
			before, _, _, err := sealState(c.Context(), book)
			if err != nil {
				return err
			}
			if err := a.sealAll(c.Context(), book, lease); err != nil {
				return err
			}
			after, _, _, err := sealState(c.Context(), book)
			if err != nil {
				return err
			}
			return a.printNumbered(before, after)
		},
	}
}

// sealAll seals until nothing waits.
func (a *app) sealAll(ctx context.Context, book *engine.Engine, lease *heldLease) error {
	bar := a.progress(-1, "sealing")
	defer func() { _ = bar.Finish() }()
	for done := int64(0); ; {
		token, got, err := lease.hold(ctx)
		if err != nil {
			return err
		}
		if !got {
			return ledger.Errorf(ledger.CodeConflict, "%s seals this book until %s, and what waits with it; run this again then",
				token.Holder, token.ExpiresAt.Format(time.RFC3339))
		}
		sealed, err := book.Seal(ctx, token)
		if err != nil {
			return err
		}
		done += int64(sealed.Pages)
		_, waiting, _, err := sealState(ctx, book)
		if err != nil {
			return err
		}
		bar.ChangeMax64(done + waiting)
		_ = bar.Set64(done)
		if !sealed.More {
			return nil
		}
	}
}

// printNumbered prints what has been numbered since.
func (a *app) printNumbered(before, after ledger.Heads) error {
	type chain struct {
		journal string
		year    int
	}
	first := map[chain]int64{}
	for _, h := range before.List {
		first[chain{h.Journal, h.FiscalYear}] = h.Number
	}
	total := int64(0)
	for _, h := range after.List {
		from := first[chain{h.Journal, h.FiscalYear}] + 1
		switch {
		case h.Number < from:
			continue
		case h.Number == from:
			fmt.Fprintf(a.out, "sealed entry %d of journal %s of %d\n", h.Number, h.Journal, h.FiscalYear)
		default:
			fmt.Fprintf(a.out, "sealed entries %d to %d of journal %s of %d\n", from, h.Number, h.Journal, h.FiscalYear)
		}
		total += h.Number - from + 1
	}
	if total == 0 {
		_, err := fmt.Fprintln(a.out, "nothing waits to be sealed")
		return err
	}
	_, err := fmt.Fprintf(a.out, "%s sealed\n", count(total, "transaction"))
	return err
}

// sealState returns the heads of a book, how many pages wait for the sealer, at
// most engine.MaxPage, and since when.
func sealState(ctx context.Context, book *engine.Engine) (heads ledger.Heads, waiting int64, since time.Time, err error) {
	err = book.DB().Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		if heads, err = book.Heads(ctx, tx); err != nil {
			return err
		}
		waiting, since, err = engine.Unsealed(ctx, tx, engine.MaxPage)
		return err
	})
	return heads, waiting, since, err
}

func (a *app) sealStatusCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "status", Short: "Show what waits to be sealed, and where the chains end",
		Example: `  tweetledger seal status`,
		Long: `status shows how many pages wait for the sealer and since when, and of every journal and
fiscal year how many entries are sealed, with the link of the last.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			heads, waiting, since, err := sealState(c.Context(), book)
			if err != nil {
				return err
			}
			table := reports.Table{
				Name: "heads", Title: "Heads of the sealed journal", GeneratedAt: book.Now(),
				Facts: []reports.Fact{{Name: "pages_waiting", Title: "Pages that wait to be sealed", Value: waiting}},
				Columns: []reports.Column{
					{Name: "journal", Title: "Journal", Kind: reports.Text}, {Name: "fiscal_year", Title: "Fiscal year", Kind: reports.Text},
					{Name: "entries", Title: "Entries", Kind: reports.Integer}, {Name: "link", Title: "Link of the last", Kind: reports.Text},
				},
			}
			if !since.IsZero() {
				table.Facts = append(table.Facts, reports.Fact{Name: "waiting_since", Title: "The oldest since", Value: since})
			}
			if waiting == engine.MaxPage {
				table.Notes = append(table.Notes, "More pages may wait: they are counted up to here.")
			}
			for _, h := range heads.List {
				table.Rows = append(table.Rows, reports.Row{Cells: []any{h.Journal, fmt.Sprint(h.FiscalYear), h.Number, hex.EncodeToString(h.Link[:])}})
			}
			return a.show(table, format, "")
		},
	}
	formatFlag(c, &format)
	return c
}

func (a *app) sealKeygenCommand() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "keygen --out FILE", Short: "Make a key to sign heads with",
		Example: `  tweetledger seal keygen --out seal.pem`,
		Long: `keygen makes a private key of Ed25519 in FILE, readable by you alone, and its public
key in FILE.pub, for those who verify. It never overwrites a file.`,
		Args: cobra.NoArgs,
		RunE: func(_ *cobra.Command, _ []string) error {
			key, err := ledger.NewSigningKey(a.random)
			if err != nil {
				return err
			}
			public := key.Public().(ed25519.PublicKey)
			private, err := ledger.EncodeSigningKey(key)
			if err != nil {
				return err
			}
			beside, err := ledger.EncodePublicKey(public)
			if err != nil {
				return err
			}
			if err := writeNew(out, 0o600, private); err != nil {
				return err
			}
			if err := writeNew(out+".pub", 0o644, beside); err != nil {
				return errors.Join(err, os.Remove(out)) // which was made just now
			}
			_, err = fmt.Fprintf(a.out, "private key  %s\npublic key   %s.pub\nkey id       %s\n", out, out, ledger.KeyID(public))
			return err
		},
	}
	c.Flags().StringVar(&out, "out", "", "file for the private key")
	required(c, "out")
	return c
}

// writeNew writes a file that must not exist yet.
func writeNew(name string, mode os.FileMode, content []byte) error {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if errors.Is(err, os.ErrExist) {
		return ledger.Errorf(ledger.CodeConflict, "%s exists already and is not overwritten; name another file", name).InField("--out")
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, err = file.Write(content)
	if syncErr := file.Sync(); err == nil {
		err = syncErr
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", name, err), os.Remove(name))
	}
	return nil
}

// readBounded reads a file of at most limit bytes.
func readBounded(name string, limit int64) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(text)) > limit {
		return nil, ledger.Errorf(ledger.CodeInvalid, "the file has more than %d bytes", limit).InField(name)
	}
	return text, nil
}

// maxKeyText bounds the file of a key: one takes about 120 bytes, comments more.
const maxKeyText = 16 << 10

// signingKey reads the key that signs heads: file, else that of the configuration.
func (s settings) signingKey(file string) (ed25519.PrivateKey, error) {
	if file == "" && s.Seal.KeyFile != "" {
		file = s.path(s.Seal.KeyFile)
	}
	if file == "" {
		return nil, ledger.Errorf(ledger.CodeInvalid, "heads and statements are signed with a key: name one with --key or seal.key_file; \"tweetledger seal keygen\" makes one").InField("--key")
	}
	text, err := readBounded(file, maxKeyText)
	if err != nil {
		return nil, fmt.Errorf("read the key for heads: %w", err)
	}
	key, err := ledger.ParseSigningKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return key, nil
}

func (a *app) sealHeadsCommand() *cobra.Command {
	var out, keyFile, digest string
	c := &cobra.Command{
		Use: "heads", Short: "Sign where the chains end, to be kept or published outside",
		Example: `  tweetledger seal heads --out heads-2026-11.json
  tweetledger seal heads --digest 4a1f… --out announced.json`,
		Long: `heads signs the number and the link of the last entry of every journal and fiscal
year, keeps the document in the book, and writes it to FILE (a new one), or to standard
output. The line for people goes with it. Who has the file can prove the book with
"tweetledger verify --heads FILE", whatever happens to the book meanwhile.

With --digest it signs nothing and hands out the heads with this SHA-256 that were
signed before: those of an announcement.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			signed, waiting, err := a.signOrFind(c.Context(), keyFile, digest)
			if err != nil {
				return err
			}
			document, err := signed.Encode()
			if err != nil {
				return err
			}
			text, err := signed.Text(ledger.MaxAnnouncement)
			if err != nil {
				return err
			}
			if waiting > 0 {
				fmt.Fprintf(a.err, "%s to be sealed and not under these heads; see: tweetledger seal run\n", waits(waiting))
			}
			if out == "" {
				_, err := a.out.Write(document)
				return err
			}
			if err := writeNew(out, 0o644, document); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "%s\nsigned with key %s: %s\n", text, ledger.KeyID(signed.PublicKey), out)
			return err
		},
	}
	c.Flags().StringVar(&out, "out", "", "file for the signed heads (default standard output)")
	c.Flags().StringVar(&keyFile, "key", "", "private key to sign with (default seal.key_file of the configuration)")
	c.Flags().StringVar(&digest, "digest", "", "hand out the heads with this SHA-256 that were signed before")
	c.MarkFlagsMutuallyExclusive("key", "digest")
	return c
}

func waits(pages int64) string {
	if pages == 1 {
		return "1 page waits"
	}
	return fmt.Sprintf("%d pages wait", pages)
}

// signOrFind signs the heads, or finds those with a digest. It returns how many
// pages are not under signed ones.
func (a *app) signOrFind(ctx context.Context, keyFile, digest string) (signed ledger.SignedHeads, waiting int64, err error) {
	book, err := a.openBook(ctx)
	if err != nil {
		return signed, 0, err
	}
	if digest != "" {
		raw, err := hex.DecodeString(digest)
		if err != nil || len(raw) != sha256.Size {
			return signed, 0, ledger.Errorf(ledger.CodeInvalid, "a SHA-256 has 64 hexadecimal digits").InField("--digest")
		}
		err = book.DB().Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			signed, err = engine.FindSignedHeads(ctx, tx, [sha256.Size]byte(raw))
			return err
		})
		return signed, 0, err
	}
	s, err := a.settings()
	if err != nil {
		return signed, 0, err
	}
	key, err := s.signingKey(keyFile)
	if err != nil {
		return signed, 0, err
	}
	err = book.DB().WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		if signed, err = book.SignHeads(ctx, tx, s.Seal.Book, key); err != nil {
			return err
		}
		waiting, _, err = engine.Unsealed(ctx, tx, engine.MaxPage)
		return err
	})
	return signed, waiting, err
}

func (a *app) sealPublishCommand() *cobra.Command {
	return &cobra.Command{
		Use: "publish", Short: "Put the heads into the outbox as a tweet of their own",
		Example: `  tweetledger seal publish`,
		Long: `publish signs the heads with seal.key_file, keeps them in the book, and puts the line
with their SHA-256 into the outbox, from which "tweetledger serve" posts it. Heads that
did not move are not announced again. With seal.publish = true in the configuration,
serve does this by itself, at most once in seal.interval.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			service, s, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			key, err := s.signingKey("")
			if err != nil {
				return err
			}
			var row payments.OutboxRow
			var fresh bool
			err = service.Engine().DB().WriteIdempotent(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				signed, err := service.Engine().SignHeads(ctx, tx, s.Seal.Book, key)
				if err != nil {
					return err
				}
				row, fresh, err = service.Announce(ctx, tx, twitter.Channel, signed.Heads)
				return err
			})
			if err != nil {
				return err
			}
			fmt.Fprintln(a.out, row.Text)
			if fresh {
				_, err = fmt.Fprintf(a.out, "waits to be posted (outbox row %s)\n", row.ID)
			} else {
				_, err = fmt.Fprintf(a.out, "was announced before (outbox row %s: %s)\n", row.ID, row.Status)
			}
			return err
		},
	}
}
