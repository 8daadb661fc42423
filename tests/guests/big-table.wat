;; Wants a table of ten million elements before its first instruction. The host must refuse it unstarted and name the
;; limit on tables.
(table 10000000 funcref)
