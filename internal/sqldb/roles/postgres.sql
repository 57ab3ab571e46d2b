-- Roles of a tweetledger book on PostgreSQL, printed by: tweetledger roles
--
--   tweetledger_serving    the service and the commands: posts, and changes nothing that was posted
--   tweetledger_reading    reports: reads
--   tweetledger_erasing    "tweetledger approval approve" of an erasure: serves, and erases a customer's data
--   tweetledger_migrating  owns the tables: "tweetledger migrate up" and "tweetledger init"
--
-- Run it as a superuser in the book's database, after "tweetledger migrate up" and
-- again after every later one: a new table is only its maker's until then. Running it again
-- grants what is missing, and takes away what is too much.
-- It makes no users; give each person and process one, and one of the roles:
--
--   CREATE USER ledger_service PASSWORD '…' IN ROLE tweetledger_serving;

BEGIN;

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['tweetledger_serving', 'tweetledger_reading', 'tweetledger_erasing', 'tweetledger_migrating'] LOOP
        IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', name);
        END IF;
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), name);
    END LOOP;
    -- A temporary table goes before one of the book that has its name, also where triggers look.
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
END $$;

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO tweetledger_serving, tweetledger_reading;
GRANT USAGE, CREATE ON SCHEMA public TO tweetledger_migrating;

-- Foreign keys, the view and the version table work with their owner's rights.
DO $$
DECLARE command text;
BEGIN
    FOR command IN
        SELECT format('ALTER TABLE %s OWNER TO tweetledger_migrating', c.oid::regclass)
            FROM pg_class AS c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v')
        UNION ALL
        SELECT format('ALTER FUNCTION %s OWNER TO tweetledger_migrating', p.oid::regprocedure)
            FROM pg_proc AS p WHERE p.pronamespace = 'public'::regnamespace AND p.proname IN ('check_postings', 'check_fixed', 'check_page', 'check_settings')
    LOOP
        EXECUTE command;
    END LOOP;
END $$;

REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, tweetledger_serving, tweetledger_reading, tweetledger_erasing;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM PUBLIC, tweetledger_serving, tweetledger_reading, tweetledger_erasing;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO tweetledger_serving, tweetledger_reading;

-- What is only added to: what was posted, the seal on it, and every trace of who did what.
GRANT INSERT ON requests, pages, postings, hold_releases, seals, page_amounts, page_terms, signed_heads, period_changes,
    account_changes, book_settings TO tweetledger_serving;
GRANT INSERT ON party_events, party_changes, payee_terms, order_events, enrolment_events, screening_hits, paid_payees, charge_events TO tweetledger_serving;
GRANT INSERT ON donation_statements, donation_statement_lines TO tweetledger_serving;
GRANT INSERT ON bank_statements, bank_entries, payment_reports, payout_events TO tweetledger_serving;
GRANT INSERT ON break_events TO tweetledger_serving;

-- What follows from it, or has a state. Locking a row (SELECT … FOR UPDATE) takes the right to change it.
GRANT INSERT, UPDATE (status) ON accounts TO tweetledger_serving;
GRANT INSERT, UPDATE (debits_posted, credits_posted, debits_pending, credits_pending, version, changed_at, closed_debits, closed_credits)
    ON balances TO tweetledger_serving;
GRANT INSERT, UPDATE (posted, status, closed_at) ON holds TO tweetledger_serving;
GRANT INSERT, UPDATE (debits, credits) ON account_days TO tweetledger_serving;
GRANT INSERT, UPDATE (number, link) ON seal_heads TO tweetledger_serving;
GRANT INSERT, UPDATE (status) ON periods TO tweetledger_serving;
GRANT INSERT, UPDATE (number, label) ON chart_entries TO tweetledger_serving;
GRANT INSERT, UPDATE (holder, token, expires_at, done_at) ON leases TO tweetledger_serving;
GRANT INSERT, UPDATE (live) ON payout_items TO tweetledger_serving;
GRANT INSERT, UPDATE (credits, freed) ON gathered_days TO tweetledger_serving;
GRANT INSERT, UPDATE (state, reason, due_at, reminded_at, customer_id, transaction_id, closed_on, closed_at)
    ON unclaimed_payments TO tweetledger_serving;
GRANT INSERT, UPDATE ON customers, payees, links, link_invitations, enrolments, payee_proposals, messages, orders, outbox, payout_batches, payouts,
    cards, charges, disputes, approvals, account_invitations, card_registrations, reconciliation_runs, breaks, break_proposals TO tweetledger_serving;

-- What comes and goes: the sealer's queue, opening balances of a year whose predecessor is opened again, and
-- deletions that wait for their message; the keys by which handles are found that look alike.
GRANT INSERT, DELETE ON unsealed_pages, opening_balances, deletions, handle_keys TO tweetledger_serving;
-- Codes that prove a mobile number are forgotten when nobody counts them any more.
GRANT INSERT, UPDATE, DELETE ON one_time_codes TO tweetledger_serving;
-- Cards that the card processor is to forget are forgotten here once it has.
GRANT INSERT, UPDATE, DELETE ON card_detachments TO tweetledger_serving;
-- Files of the bank and of acquirers leave what was only read on the way; statements, their entries and findings stay.
GRANT INSERT, DELETE, UPDATE (state, entries, details, content_hash, touched_at) ON bank_messages TO tweetledger_serving;
GRANT INSERT, DELETE, UPDATE (state, lines, content_hash, touched_at) ON settlement_files TO tweetledger_serving;
GRANT INSERT, DELETE ON bank_message_rows, settlement_lines TO tweetledger_serving;
GRANT INSERT, UPDATE (closed_by, closed_at) ON bank_findings TO tweetledger_serving;
GRANT INSERT, UPDATE (vouched_by, vouched_at, vouched_for, lifted_by, lifted_at, lifted_for) ON iban_flags TO tweetledger_serving;
GRANT INSERT, UPDATE (statement_id, entry, detail, transaction_id) ON settlement_payouts TO tweetledger_serving;
GRANT DELETE ON links TO tweetledger_serving; -- a customer unlinks an account; the customer's history keeps it

-- Who erases a customer's data: all that the service may, and to take the words out of traces that are
-- only added to otherwise. Who did what and when stays.
GRANT tweetledger_serving TO tweetledger_erasing;
GRANT UPDATE (reason) ON party_events, order_events, enrolment_events, charge_events TO tweetledger_erasing;
GRANT UPDATE (old_value, new_value, reason) ON party_changes TO tweetledger_erasing;
GRANT UPDATE (detail) ON screening_hits TO tweetledger_erasing;
GRANT UPDATE (payee_user_id) ON paid_payees TO tweetledger_erasing;
GRANT UPDATE (user_id) ON unclaimed_payments TO tweetledger_erasing;

COMMIT;
