public import QueueService

/// What the database takes of its disk.
extension PostgresStore {
    /// The databases of the server, as far as this user may see them: at least this one. How
    /// full the disk is can be seen only where the server is on this machine and says where its files are.
    public func diskUse() async throws(StoreError) -> DiskUse? {
        let row = try await rows(PostgresCall(PostgresStore.diskStatement))[0]
        let folder: String = try row.get(1)
        return DiskUse(bytes: try row.get(0), usedShare: folder.isEmpty ? nil : Disk.usedShare(at: folder))
    }

    /// `pg_database_size` needs CONNECT on the database, `data_directory` the role pg_read_all_settings. Client and server
    /// with one address, or a socket of the file system, are on one machine.
    private static let diskStatement: StaticString = """
        SELECT (SELECT sum(pg_database_size(oid)) FROM pg_database WHERE has_database_privilege(oid, 'CONNECT'))::float8,
            CASE WHEN pg_has_role('pg_read_all_settings', 'MEMBER')
                    AND (inet_server_addr() IS NULL OR inet_server_addr() = inet_client_addr())
                THEN current_setting('data_directory') ELSE '' END
        """
}
