-- Payments: customers, payees, links, the inbox, orders, the outbox.
-- +goose Up

CREATE TABLE customers (
    id                uuid        PRIMARY KEY,
    serial            int8        NOT NULL UNIQUE CHECK (serial > 0),
    number            text        NOT NULL UNIQUE CHECK (length(number) BETWEEN 3 AND 32), -- made from serial
    name              text        NOT NULL CHECK (length(name) BETWEEN 1 AND 120),
    phone             text        NOT NULL CHECK (length(phone) BETWEEN 8 AND 16),
    status            text        NOT NULL CHECK (status IN ('open', 'blocked', 'closed')),
    wallet_id         uuid        NOT NULL UNIQUE REFERENCES accounts (id),
    secret_hash       text, -- argon2id, PHC format; NULL until a code is set
    -- tries since the last right code, counted before each is looked at
    secret_failures   int8        NOT NULL DEFAULT 0 CHECK (secret_failures >= 0),
    secret_blocked_at timestamptz,
    named             int8        NOT NULL CHECK (named IN (0, 1)), -- consents to be named to charities
    pseudonym_salt    bytea       NOT NULL CHECK (length(pseudonym_salt) = 32),
    created_at        timestamptz NOT NULL
);

-- What staff or the service did to a customer or payee: blocked, code lifted.
CREATE TABLE party_events (
    party_id uuid        NOT NULL,
    ordinal  int8        NOT NULL CHECK (ordinal >= 0),
    at       timestamptz NOT NULL,
    actor    text        NOT NULL,
    event    text        NOT NULL,
    reason   text        NOT NULL,
    PRIMARY KEY (party_id, ordinal)
);

CREATE TABLE payees (
    id                   uuid        PRIMARY KEY,
    code                 text        NOT NULL UNIQUE CHECK (length(code) BETWEEN 1 AND 32),
    kind                 text        NOT NULL CHECK (kind IN ('charity', 'business')),
    name                 text        NOT NULL CHECK (length(name) BETWEEN 1 AND 120),
    status               text        NOT NULL CHECK (status IN ('open', 'blocked', 'closed')),
    account_id           uuid        NOT NULL UNIQUE REFERENCES accounts (id),
    iban                 text, -- NULL: nothing can be paid out yet
    bic                  text,
    commission_points    int8        NOT NULL CHECK (commission_points BETWEEN 0 AND 10000), -- hundredths of a percent
    commission_minimum   int8        NOT NULL CHECK (commission_minimum >= 0),
    rhythm               text        NOT NULL CHECK (rhythm IN ('daily', 'weekly', 'fortnightly', 'monthly')),
    created_at           timestamptz NOT NULL
);

-- Who a channel's user id is. The handle is as last seen and binds nothing.
CREATE TABLE links (
    channel     text        NOT NULL,
    user_id     text        NOT NULL,
    customer_id uuid        REFERENCES customers (id),
    payee_id    uuid        REFERENCES payees (id),
    handle      text        NOT NULL,
    linked_at   timestamptz NOT NULL,
    PRIMARY KEY (channel, user_id),
    CONSTRAINT link_one_party CHECK ((customer_id IS NULL) <> (payee_id IS NULL))
);
CREATE INDEX links_of_customer ON links (customer_id) WHERE customer_id IS NOT NULL;
CREATE INDEX links_of_payee ON links (payee_id) WHERE payee_id IS NOT NULL;

CREATE TABLE messages (
    id              uuid        PRIMARY KEY, -- UUIDv5 of channel, first id and version
    channel         text        NOT NULL,
    first_id        text        NOT NULL,
    version         int8        NOT NULL CHECK (version BETWEEN 0 AND 100),
    message_id      text        NOT NULL,
    conversation_id text        NOT NULL,
    author_id       text        NOT NULL,
    author_handle   text        NOT NULL,
    kind            text        NOT NULL,
    text            text, -- NULL once purged
    text_hash       bytea       NOT NULL CHECK (length(text_hash) = 32), -- keyed
    mentions        jsonb       NOT NULL,
    language        text        NOT NULL,
    via             text        NOT NULL,
    created_at      timestamptz NOT NULL,
    received_at     timestamptz NOT NULL,
    due_at          timestamptz NOT NULL, -- when it is to be handled, while it is not
    attempts        int8        NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    handled_at      timestamptz,
    outcome         text,
    reason          text,
    command         jsonb, -- normalised
    order_id        uuid,
    deleted_at      timestamptz,
    UNIQUE (channel, first_id, version),
    CONSTRAINT message_handled_has_outcome CHECK ((handled_at IS NULL) = (outcome IS NULL))
);
CREATE INDEX messages_by_id ON messages (channel, message_id);
CREATE INDEX messages_by_time ON messages (created_at, id);
CREATE INDEX messages_due ON messages (due_at, id) WHERE handled_at IS NULL;
CREATE INDEX messages_with_text ON messages (received_at) WHERE text IS NOT NULL;

CREATE TABLE orders (
    id                uuid        PRIMARY KEY, -- UUIDv5 of the message that asked for it
    order_key         text        NOT NULL, -- channel and first id: the posting's idempotency key
    message_id        uuid        NOT NULL UNIQUE REFERENCES messages (id),
    channel           text        NOT NULL,
    first_id          text        NOT NULL,
    version           int8        NOT NULL,
    state             text        NOT NULL CHECK (state IN ('received', 'rejected', 'awaiting_payee', 'under_review',
        'awaiting_confirmation', 'posted', 'expired', 'cancelled', 'voided')),
    reason            text        NOT NULL, -- of the last change of state; private
    events            int8        NOT NULL CHECK (events > 0),
    payer_id          uuid        NOT NULL REFERENCES customers (id),
    payer_user_id     text        NOT NULL,
    payee_kind        text        NOT NULL CHECK (payee_kind IN ('person', 'charity', 'business', 'unregistered')),
    payee_customer_id uuid        REFERENCES customers (id),
    payee_payee_id    uuid        REFERENCES payees (id),
    payee_user_id     text        NOT NULL,
    payee_handle      text        NOT NULL,
    amount            int8        NOT NULL CHECK (amount > 0),
    currency          text        NOT NULL CHECK (length(currency) = 3),
    language          text        NOT NULL,
    binding           bytea       NOT NULL CHECK (length(binding) = 32), -- keyed, over what the code confirms
    token_hash        bytea       CHECK (length(token_hash) = 32),
    hold_id           uuid        REFERENCES holds (id),
    transaction_id    uuid        REFERENCES transactions (id),
    confirmation_id   uuid, -- the attempt that posted it
    effective_date    date,
    message_at        timestamptz NOT NULL,
    created_at        timestamptz NOT NULL,
    expires_at        timestamptz,
    closed_at         timestamptz,
    CONSTRAINT order_one_payee CHECK ((payee_customer_id IS NOT NULL) = (payee_kind = 'person')
        AND (payee_payee_id IS NOT NULL) = (payee_kind IN ('charity', 'business'))),
    CONSTRAINT order_posted_has_transaction CHECK ((state = 'posted') = (transaction_id IS NOT NULL)
        AND (state = 'posted') = (effective_date IS NOT NULL)),
    CONSTRAINT order_awaiting_confirmation_is_held CHECK (state NOT IN ('awaiting_confirmation', 'posted') OR hold_id IS NOT NULL),
    CONSTRAINT order_closed CHECK ((closed_at IS NOT NULL) = (state IN ('rejected', 'posted', 'expired', 'cancelled', 'voided')))
);
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
    order_id   uuid        NOT NULL REFERENCES orders (id),
    ordinal    int8        NOT NULL CHECK (ordinal >= 0),
    at         timestamptz NOT NULL,
    actor      text        NOT NULL,
    from_state text        NOT NULL, -- empty for the first
    to_state   text        NOT NULL,
    reason     text        NOT NULL,
    PRIMARY KEY (order_id, ordinal)
);

CREATE TABLE outbox (
    id              uuid        PRIMARY KEY, -- UUIDv5 of what it answers, so that nothing is said twice
    kind            text        NOT NULL CHECK (kind IN ('reply', 'notice')),
    queue           text        NOT NULL, -- what is sent in order: a conversation, or a customer's notices
    channel         text        NOT NULL,
    in_reply_to     text        NOT NULL,
    conversation_id text        NOT NULL,
    customer_id     uuid        REFERENCES customers (id), -- of a notice
    order_id        uuid        REFERENCES orders (id),
    template        text        NOT NULL,
    text            text        NOT NULL, -- of a reply; a notice is written when it is sent, so that no link is stored
    status          text        NOT NULL CHECK (status IN ('pending', 'sent', 'dead')),
    attempts        int8        NOT NULL CHECK (attempts >= 0),
    next_attempt_at timestamptz NOT NULL,
    created_at      timestamptz NOT NULL,
    closed_at       timestamptz,
    external_id     text        NOT NULL,
    last_error      text        NOT NULL,
    CONSTRAINT outbox_notice_has_customer CHECK ((kind = 'notice') = (customer_id IS NOT NULL)),
    CONSTRAINT outbox_closed CHECK ((status = 'pending') = (closed_at IS NULL))
);
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
