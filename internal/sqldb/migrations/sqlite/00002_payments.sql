-- Payments: customers, payees, links, the inbox, orders, the outbox.
-- +goose Up

CREATE TABLE customers (
    id                BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    serial            INTEGER NOT NULL UNIQUE CHECK (serial > 0),
    number            TEXT    NOT NULL UNIQUE CHECK (length(number) BETWEEN 3 AND 32), -- made from serial
    name              TEXT    NOT NULL CHECK (length(name) BETWEEN 1 AND 120),
    phone             TEXT    NOT NULL CHECK (length(phone) BETWEEN 8 AND 16),
    status            TEXT    NOT NULL CHECK (status IN ('open', 'blocked', 'closed')),
    wallet_id         BLOB    NOT NULL UNIQUE REFERENCES accounts (id),
    secret_hash       TEXT, -- argon2id, PHC format; NULL until a code is set
    -- tries since the last right code, counted before each is looked at
    secret_failures   INTEGER NOT NULL DEFAULT 0 CHECK (secret_failures >= 0),
    secret_blocked_at TEXT,
    named             INTEGER NOT NULL CHECK (named IN (0, 1)), -- consents to be named to charities
    pseudonym_salt    BLOB    NOT NULL CHECK (length(pseudonym_salt) = 32),
    created_at        TEXT    NOT NULL
) STRICT;

-- What staff or the service did to a customer or payee: blocked, code lifted.
CREATE TABLE party_events (
    party_id BLOB    NOT NULL,
    ordinal  INTEGER NOT NULL CHECK (ordinal >= 0),
    at       TEXT    NOT NULL,
    actor    TEXT    NOT NULL,
    event    TEXT    NOT NULL,
    reason   TEXT    NOT NULL,
    PRIMARY KEY (party_id, ordinal)
) STRICT;

CREATE TABLE payees (
    id                   BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    code                 TEXT    NOT NULL UNIQUE CHECK (length(code) BETWEEN 1 AND 32),
    kind                 TEXT    NOT NULL CHECK (kind IN ('charity', 'business')),
    name                 TEXT    NOT NULL CHECK (length(name) BETWEEN 1 AND 120),
    status               TEXT    NOT NULL CHECK (status IN ('open', 'blocked', 'closed')),
    account_id           BLOB    NOT NULL UNIQUE REFERENCES accounts (id),
    iban                 TEXT, -- NULL: nothing can be paid out yet
    bic                  TEXT,
    commission_points    INTEGER NOT NULL CHECK (commission_points BETWEEN 0 AND 10000), -- hundredths of a percent
    commission_minimum   INTEGER NOT NULL CHECK (commission_minimum >= 0),
    rhythm               TEXT    NOT NULL CHECK (rhythm IN ('daily', 'weekly', 'fortnightly', 'monthly')),
    created_at           TEXT    NOT NULL
) STRICT;

-- Who a channel's user id is. The handle is as last seen and binds nothing.
CREATE TABLE links (
    channel     TEXT    NOT NULL,
    user_id     TEXT    NOT NULL,
    customer_id BLOB    REFERENCES customers (id),
    payee_id    BLOB    REFERENCES payees (id),
    handle      TEXT    NOT NULL,
    linked_at   TEXT    NOT NULL,
    PRIMARY KEY (channel, user_id),
    CONSTRAINT link_one_party CHECK ((customer_id IS NULL) <> (payee_id IS NULL))
) STRICT;
CREATE INDEX links_of_customer ON links (customer_id) WHERE customer_id IS NOT NULL;
CREATE INDEX links_of_payee ON links (payee_id) WHERE payee_id IS NOT NULL;

CREATE TABLE messages (
    id              BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16), -- UUIDv5 of channel, first id and version
    channel         TEXT    NOT NULL,
    first_id        TEXT    NOT NULL,
    version         INTEGER NOT NULL CHECK (version BETWEEN 0 AND 100),
    message_id      TEXT    NOT NULL,
    conversation_id TEXT    NOT NULL,
    author_id       TEXT    NOT NULL,
    author_handle   TEXT    NOT NULL,
    kind            TEXT    NOT NULL,
    text            TEXT, -- NULL once purged
    text_hash       BLOB    NOT NULL CHECK (length(text_hash) = 32), -- keyed
    mentions        TEXT    NOT NULL CHECK (json_valid(mentions)),
    language        TEXT    NOT NULL,
    via             TEXT    NOT NULL,
    created_at      TEXT    NOT NULL,
    received_at     TEXT    NOT NULL,
    due_at          TEXT    NOT NULL, -- when it is to be handled, while it is not
    attempts        INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    handled_at      TEXT,
    outcome         TEXT,
    reason          TEXT,
    command         TEXT    CHECK (json_valid(command)), -- normalised
    order_id        BLOB,
    deleted_at      TEXT,
    UNIQUE (channel, first_id, version),
    CONSTRAINT message_handled_has_outcome CHECK ((handled_at IS NULL) = (outcome IS NULL))
) STRICT;
CREATE INDEX messages_by_id ON messages (channel, message_id);
CREATE INDEX messages_by_time ON messages (created_at, id);
CREATE INDEX messages_due ON messages (due_at, id) WHERE handled_at IS NULL;
CREATE INDEX messages_with_text ON messages (received_at) WHERE text IS NOT NULL;

CREATE TABLE orders (
    id                BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16), -- UUIDv5 of the message that asked for it
    order_key         TEXT    NOT NULL, -- channel and first id: the posting's idempotency key
    message_id        BLOB    NOT NULL UNIQUE REFERENCES messages (id),
    channel           TEXT    NOT NULL,
    first_id          TEXT    NOT NULL,
    version           INTEGER NOT NULL,
    state             TEXT    NOT NULL CHECK (state IN ('received', 'rejected', 'awaiting_payee', 'under_review',
        'awaiting_confirmation', 'posted', 'expired', 'cancelled', 'voided')),
    reason            TEXT    NOT NULL, -- of the last change of state; private
    events            INTEGER NOT NULL CHECK (events > 0),
    payer_id          BLOB    NOT NULL REFERENCES customers (id),
    payer_user_id     TEXT    NOT NULL,
    payee_kind        TEXT    NOT NULL CHECK (payee_kind IN ('person', 'charity', 'business', 'unregistered')),
    payee_customer_id BLOB    REFERENCES customers (id),
    payee_payee_id    BLOB    REFERENCES payees (id),
    payee_user_id     TEXT    NOT NULL,
    payee_handle      TEXT    NOT NULL,
    amount            INTEGER NOT NULL CHECK (amount > 0),
    currency          TEXT    NOT NULL CHECK (length(currency) = 3),
    language          TEXT    NOT NULL,
    binding           BLOB    NOT NULL CHECK (length(binding) = 32), -- keyed, over what the code confirms
    token_hash        BLOB    CHECK (length(token_hash) = 32),
    hold_id           BLOB    REFERENCES holds (id),
    transaction_id    BLOB    REFERENCES transactions (id),
    confirmation_id   BLOB, -- the attempt that posted it
    effective_date    TEXT,
    message_at        TEXT    NOT NULL,
    created_at        TEXT    NOT NULL,
    expires_at        TEXT,
    closed_at         TEXT,
    CONSTRAINT order_one_payee CHECK ((payee_customer_id IS NOT NULL) = (payee_kind = 'person')
        AND (payee_payee_id IS NOT NULL) = (payee_kind IN ('charity', 'business'))),
    CONSTRAINT order_posted_has_transaction CHECK ((state = 'posted') = (transaction_id IS NOT NULL)
        AND (state = 'posted') = (effective_date IS NOT NULL)),
    CONSTRAINT order_awaiting_confirmation_is_held CHECK (state NOT IN ('awaiting_confirmation', 'posted') OR hold_id IS NOT NULL),
    CONSTRAINT order_closed CHECK ((closed_at IS NOT NULL) = (state IN ('rejected', 'posted', 'expired', 'cancelled', 'voided')))
) STRICT;
CREATE INDEX orders_by_key ON orders (order_key, version);
-- An edit chain has one order that is open or posted, at most.
CREATE UNIQUE INDEX orders_one_alive ON orders (order_key)
    WHERE state IN ('received', 'awaiting_payee', 'under_review', 'awaiting_confirmation', 'posted');
CREATE UNIQUE INDEX orders_by_token ON orders (token_hash) WHERE token_hash IS NOT NULL;
CREATE INDEX orders_to_expire ON orders (expires_at) WHERE state IN ('awaiting_payee', 'awaiting_confirmation');
CREATE INDEX orders_by_time ON orders (created_at, id);
CREATE INDEX orders_by_state ON orders (state, created_at, id);
CREATE INDEX orders_of_payer ON orders (payer_id, created_at);
CREATE INDEX orders_of_payee ON orders (payee_payee_id, effective_date) WHERE payee_payee_id IS NOT NULL;

CREATE TABLE order_events (
    order_id   BLOB    NOT NULL REFERENCES orders (id),
    ordinal    INTEGER NOT NULL CHECK (ordinal >= 0),
    at         TEXT    NOT NULL,
    actor      TEXT    NOT NULL,
    from_state TEXT    NOT NULL, -- empty for the first
    to_state   TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    PRIMARY KEY (order_id, ordinal)
) STRICT;

CREATE TABLE outbox (
    id              BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16), -- UUIDv5 of what it answers, so that nothing is said twice
    kind            TEXT    NOT NULL CHECK (kind IN ('reply', 'notice')),
    queue           TEXT    NOT NULL, -- what is sent in order: a conversation, or a customer's notices
    channel         TEXT    NOT NULL,
    in_reply_to     TEXT    NOT NULL,
    conversation_id TEXT    NOT NULL,
    customer_id     BLOB    REFERENCES customers (id), -- of a notice
    order_id        BLOB    REFERENCES orders (id),
    template        TEXT    NOT NULL,
    text            TEXT    NOT NULL, -- of a reply; a notice is written when it is sent, so that no link is stored
    status          TEXT    NOT NULL CHECK (status IN ('pending', 'sent', 'dead')),
    attempts        INTEGER NOT NULL CHECK (attempts >= 0),
    next_attempt_at TEXT    NOT NULL,
    created_at      TEXT    NOT NULL,
    closed_at       TEXT,
    external_id     TEXT    NOT NULL,
    last_error      TEXT    NOT NULL,
    CONSTRAINT outbox_notice_has_customer CHECK ((kind = 'notice') = (customer_id IS NOT NULL)),
    CONSTRAINT outbox_closed CHECK ((status = 'pending') = (closed_at IS NULL))
) STRICT;
CREATE INDEX outbox_due ON outbox (next_attempt_at, id) WHERE status = 'pending';
CREATE INDEX outbox_in_order ON outbox (queue, created_at, id) WHERE status = 'pending';
CREATE INDEX outbox_dead ON outbox (created_at, id) WHERE status = 'dead';
CREATE INDEX outbox_of_order ON outbox (order_id) WHERE order_id IS NOT NULL;

-- +goose Down
DROP TABLE outbox;
DROP TABLE order_events;
DROP TABLE orders;
DROP TABLE messages;
DROP TABLE links;
DROP TABLE payees;
DROP TABLE party_events;
DROP TABLE customers;
