;; What every guest shares: where things lie in memory, the allocator, and helpers that write answers.
;; A guest's file is put before this one; hooks that it does not define come from the other files of this folder.

;; Layout, as the canonical ABI lays out the records of wit/*.wit: pointers and lengths are 4 bytes, a list or string
;; is (pointer, length), an option or variant is a tag byte and then its payload, aligned.
;;   TYPE:size     bytes of one element        TYPE.FIELD           offset of the field
;;   TYPE:payload  offset behind the tag       TYPE.FIELD:payload   the same, from the start of the record
;;   TYPE=CASE     number of the case, or the bit of a flag
;; A function's name as TYPE stands for its result. A test computes every line below from the WIT.
(global $batch.gateways i32 (i32.const 56))
(global $batch.subjects i32 (i32.const 64))
(global $subject:size i32 (i32.const 88))
(global $subject.kind i32 (i32.const 0))
(global $subject.candidates i32 (i32.const 8))
(global $subject.labels i32 (i32.const 16))
(global $subject.labels:payload i32 (i32.const 20))
(global $subject.name i32 (i32.const 56))
(global $subject.name:payload i32 (i32.const 60))
(global $subject-kind=pod i32 (i32.const 2))
(global $pair:size i32 (i32.const 16))
(global $pair.key i32 (i32.const 0))

(global $target:size i32 (i32.const 16))
(global $target.gateway i32 (i32.const 0))
(global $target.address i32 (i32.const 4))
(global $target.address:payload i32 (i32.const 8))
(global $target.weight i32 (i32.const 12))
(global $choice=direct i32 (i32.const 1))
(global $choice=blocked i32 (i32.const 2))
(global $choice=waypoints i32 (i32.const 3))
(global $decision:size i32 (i32.const 56))
(global $decision.choice i32 (i32.const 0))
(global $decision.choice:payload i32 (i32.const 4))
(global $decision.reason i32 (i32.const 16))
(global $decision.reason:payload i32 (i32.const 20))
(global $explanation.decision i32 (i32.const 0))
(global $failure.text i32 (i32.const 8))

(global $read:size i32 (i32.const 12))
(global $read.at i32 (i32.const 0))
(global $read.key i32 (i32.const 4))
(global $source=subject-label i32 (i32.const 0))
(global $fields=name i32 (i32.const 2))
(global $reach=referenced i32 (i32.const 0))
(global $reach=own-namespace i32 (i32.const 1))
(global $reach=all i32 (i32.const 2))
(global $description.name i32 (i32.const 0))
(global $description.version i32 (i32.const 8))
(global $description.reads i32 (i32.const 16))
(global $description.fields i32 (i32.const 24))
(global $description.reach i32 (i32.const 36))

(global $describe:size i32 (i32.const 44))
(global $describe:payload i32 (i32.const 4))
(global $resolve:size i32 (i32.const 20))
(global $resolve:payload i32 (i32.const 4))
(global $explain:size i32 (i32.const 76))
(global $explain:payload i32 (i32.const 4))

;; Fixed data: 1024 the name (its length is generated beside it), 1280 the version, 4096..65536 the guest's own; the
;; allocator starts at 65536. Fresh memory is zero and nothing is freed, so an unwritten field is none, 0, false or "".
(data (i32.const 1280) "0.1.0")
(global $heap (mut i32) (i32.const 65536))

;; New bytes, aligned; grows the memory by what is missing and traps when the host refuses.
(func $allocate (param $size i32) (param $align i32) (result i32)
  (local $start i64) (local $end i64) (local $have i64)
  (local.set $start
    (i64.and
      (i64.add (i64.extend_i32_u (global.get $heap)) (i64.sub (i64.extend_i32_u (local.get $align)) (i64.const 1)))
      (i64.sub (i64.const 0) (i64.extend_i32_u (local.get $align)))))
  (local.set $end (i64.add (local.get $start) (i64.extend_i32_u (local.get $size))))
  ;; The last byte of the 4 GiB stays unused: its end would not fit the pointer.
  (if (i64.gt_u (local.get $end) (i64.const 0xffffffff)) (then unreachable))
  (local.set $have (i64.shl (i64.extend_i32_u (memory.size)) (i64.const 16)))
  (if (i64.gt_u (local.get $end) (local.get $have))
    (then
      (if (i32.eq
            (memory.grow
              (i32.wrap_i64
                (i64.shr_u
                  (i64.add (i64.sub (local.get $end) (local.get $have)) (i64.const 0xffff))
                  (i64.const 16))))
            (i32.const -1))
        (then unreachable))))
  (global.set $heap (i32.wrap_i64 (local.get $end)))
  (i32.wrap_i64 (local.get $start)))

(func $new (param $size i32) (result i32)
  (call $allocate (local.get $size) (i32.const 4)))

(func $cabi_realloc (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
  (local $new i32)
  (local.set $new (call $allocate (local.get $size) (local.get $align)))
  ;; The smaller of both sizes moves along; for a first allocation that is nothing.
  (memory.copy (local.get $new) (local.get $old)
    (select (local.get $old-size) (local.get $size) (i32.lt_u (local.get $old-size) (local.get $size))))
  (local.get $new))

;; Writes a list or string.
(func $put-list (param $at i32) (param $pointer i32) (param $length i32)
  (i32.store (local.get $at) (local.get $pointer))
  (i32.store offset=4 (local.get $at) (local.get $length)))

;; A `result` that is an error with this text; describe's error is the text itself, at offset 0 of the payload.
(func $error-text (param $size i32) (param $text-offset i32) (param $text i32) (param $length i32) (result i32)
  (local $result i32)
  (local.set $result (call $new (local.get $size)))
  (i32.store8 (local.get $result) (i32.const 1))
  (call $put-list (i32.add (local.get $result) (local.get $text-offset)) (local.get $text) (local.get $length))
  (local.get $result))

;; An accepted description with this guest's name, these reads and this reach; no fields and no references.
(func $described (param $reads i32) (param $read-count i32) (param $reach i32) (result i32)
  (local $result i32) (local $description i32)
  (local.set $result (call $new (global.get $describe:size)))
  (local.set $description (i32.add (local.get $result) (global.get $describe:payload)))
  (call $put-list (i32.add (local.get $description) (global.get $description.name))
    (i32.const 1024) (global.get $name-length))
  (call $put-list (i32.add (local.get $description) (global.get $description.version)) (i32.const 1280) (i32.const 5))
  (call $put-list (i32.add (local.get $description) (global.get $description.reads))
    (local.get $reads) (local.get $read-count))
  (i32.store8 (i32.add (local.get $description) (global.get $description.reach)) (local.get $reach))
  (local.get $result))

;; The same for a guest that reads only names, which makes every subject a row of its own.
(func $described-by-name (result i32)
  (local $result i32)
  (local.set $result (call $described (i32.const 0) (i32.const 0) (global.get $reach=referenced)))
  (i32.store8
    (i32.add (i32.add (local.get $result) (global.get $describe:payload)) (global.get $description.fields))
    (global.get $fields=name))
  (local.get $result))

;; An accepted list of decisions.
(func $resolved (param $decisions i32) (param $count i32) (result i32)
  (local $result i32)
  (local.set $result (call $new (global.get $resolve:size)))
  (call $put-list (i32.add (local.get $result) (global.get $resolve:payload)) (local.get $decisions) (local.get $count))
  (local.get $result))

(func $subject-count (param $batch i32) (result i32)
  (i32.load offset=4 (i32.add (local.get $batch) (global.get $batch.subjects))))

(func $gateway-count (param $batch i32) (result i32)
  (i32.load offset=4 (i32.add (local.get $batch) (global.get $batch.gateways))))

(func $subject (param $batch i32) (param $index i32) (result i32)
  (i32.add
    (i32.load (i32.add (local.get $batch) (global.get $batch.subjects)))
    (i32.mul (local.get $index) (global.get $subject:size))))

(func $subject-kind (param $subject i32) (result i32)
  (i32.load8_u (i32.add (local.get $subject) (global.get $subject.kind))))

(func $candidate-count (param $subject i32) (result i32)
  (i32.load offset=4 (i32.add (local.get $subject) (global.get $subject.candidates))))

;; The gateway index of the n-th candidate; the caller has counted.
(func $candidate (param $subject i32) (param $n i32) (result i32)
  (i32.load
    (i32.add
      (i32.load (i32.add (local.get $subject) (global.get $subject.candidates)))
      (i32.shl (local.get $n) (i32.const 2)))))

(func $put-choice (param $decision i32) (param $case i32)
  (i32.store8 (i32.add (local.get $decision) (global.get $decision.choice)) (local.get $case)))

(func $put-reason (param $decision i32) (param $text i32) (param $length i32)
  (i32.store8 (i32.add (local.get $decision) (global.get $decision.reason)) (i32.const 1))
  (call $put-list (i32.add (local.get $decision) (global.get $decision.reason:payload))
    (local.get $text) (local.get $length)))

(func $put-waypoints (param $decision i32) (param $targets i32) (param $count i32)
  (call $put-choice (local.get $decision) (global.get $choice=waypoints))
  (call $put-list (i32.add (local.get $decision) (global.get $decision.choice:payload))
    (local.get $targets) (local.get $count)))

;; A target without an address.
(func $put-target (param $target i32) (param $gateway i32) (param $weight i32)
  (i32.store (i32.add (local.get $target) (global.get $target.gateway)) (local.get $gateway))
  (i32.store (i32.add (local.get $target) (global.get $target.weight)) (local.get $weight)))

;; One waypoint of weight 100; gives the target for what the guest wants to spoil further.
(func $put-waypoint (param $decision i32) (param $gateway i32) (result i32)
  (local $target i32)
  (local.set $target (call $new (global.get $target:size)))
  (call $put-target (local.get $target) (local.get $gateway) (i32.const 100))
  (call $put-waypoints (local.get $decision) (local.get $target) (i32.const 1))
  (local.get $target))

;; describe takes the string flat. A batch flattens to 18 values, over the limit of 16, so it comes by pointer.
;; All three results are larger than one value and go back by pointer.
(export "memory" (memory 0))
(export "cabi_realloc" (func $cabi_realloc))
(export "wayswitch:waypoint/resolver@0.1.0#describe" (func $describe))
(export "wayswitch:waypoint/resolver@0.1.0#resolve" (func $resolve))
(export "wayswitch:waypoint/resolver@0.1.0#explain" (func $explain))
