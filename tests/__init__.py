"""The tests of sansio-smtp."""
