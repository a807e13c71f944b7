package nixdb

// SchemaVersion is the version of the schema since Nix 1.12. Later changes of the schema are migrations with names.
const SchemaVersion = 10

// schema is the script that creates a database: the tables, indexes and triggers of Nix's src/libstore/schema.sql, and
// the list of migrations.
//
// A hash is "sha256:" and base 16. ultimate is 1 or null. Signatures in sigs are separated by spaces. An unknown value
// is null. A foreign key prevents the deletion of a path to which another path refers. The trigger first deletes the
// reference of a path to itself.
const schema = `
create table if not exists ValidPaths (
	id integer primary key autoincrement not null,
	path text unique not null,
	hash text not null,
	registrationTime integer not null,
	deriver text,
	narSize integer,
	ultimate integer,
	sigs text,
	ca text
);
create table if not exists Refs (
	referrer integer not null,
	reference integer not null,
	primary key (referrer, reference),
	foreign key (referrer) references ValidPaths(id) on delete cascade,
	foreign key (reference) references ValidPaths(id) on delete restrict
);
create index if not exists IndexReferrer on Refs(referrer);
create index if not exists IndexReference on Refs(reference);
create trigger if not exists DeleteSelfRefs before delete on ValidPaths begin
	delete from Refs where referrer = old.id and reference = old.id;
end;
create table if not exists DerivationOutputs (
	drv integer not null,
	id text not null,
	path text not null,
	primary key (drv, id),
	foreign key (drv) references ValidPaths(id) on delete cascade
);
create index if not exists IndexDerivationOutputs on DerivationOutputs(path);
` + MigrationsTable

// MigrationsTable is the script that creates the table of migrations, if it does not exist.
const MigrationsTable = `
create table if not exists SchemaMigrations (migration text primary key not null);
`
