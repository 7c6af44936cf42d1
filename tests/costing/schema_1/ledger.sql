BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE runs (
	id VARCHAR(64) NOT NULL, 
	pipeline TEXT NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	created_at_microseconds BIGINT NOT NULL, 
	value_of_hour_usd FLOAT NOT NULL, 
	spec JSON NOT NULL, 
	engine TEXT NOT NULL, 
	team TEXT NOT NULL, 
	ended_at_microseconds BIGINT, 
	attempt INTEGER NOT NULL, 
	owner TEXT NOT NULL, 
	metrics JSON NOT NULL, 
	examples_trained BIGINT NOT NULL, 
	error TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "runs" VALUES('0199aa00-0000-7000-8000-000000000000','cnn','succeeded',1790000000000000,1.0,'{"model": "cnn", "epochs": 5}','local','local',1790000080000000,1,'','{"test_accuracy": 0.98}',7185,'');
INSERT INTO "runs" VALUES('0199aa01-0000-7000-8000-000000000001','rnn','succeeded',1790000040000000,1.0,'{"model": "cnn", "epochs": 5}','local','local',1790000170000000,1,'','{}',7185,'');
INSERT INTO "runs" VALUES('0199aa04-0000-7000-8000-000000000004','cnn','succeeded',1790000360000000,1.0,'{"model": "cnn", "epochs": 5}','local','local',1790000440000000,2,'','{"test_accuracy": 0.98}',7185,'');
INSERT INTO "runs" VALUES('0199aa08-0000-7000-8000-000000000008','cnn','failed',1790000720000000,1.0,'{"model": "cnn", "epochs": 5}','local','local',NULL,1,'','{}',0,'train: loss is not a number');
CREATE TABLE usage (
	usage_id VARCHAR(36) NOT NULL, 
	run_id VARCHAR(64) NOT NULL, 
	pipeline TEXT NOT NULL, 
	step TEXT NOT NULL, 
	worker TEXT NOT NULL, 
	attempt INTEGER NOT NULL, 
	generation INTEGER NOT NULL, 
	team TEXT NOT NULL, 
	namespace TEXT NOT NULL, 
	pod_uid TEXT NOT NULL, 
	node_uid TEXT NOT NULL, 
	container TEXT NOT NULL, 
	machine_type TEXT NOT NULL, 
	spot BOOLEAN NOT NULL, 
	provider TEXT NOT NULL, 
	region TEXT NOT NULL, 
	start_microseconds BIGINT NOT NULL, 
	end_microseconds BIGINT, 
	heartbeat_at_microseconds BIGINT NOT NULL, 
	cpu_request_cores FLOAT NOT NULL, 
	cpu_used_core_seconds FLOAT NOT NULL, 
	memory_request_bytes BIGINT NOT NULL, 
	memory_used_byte_seconds FLOAT NOT NULL, 
	accelerator TEXT NOT NULL, 
	accelerator_count INTEGER NOT NULL, 
	wait_seconds FLOAT NOT NULL, 
	phase VARCHAR(16) NOT NULL, 
	source VARCHAR(16) NOT NULL, 
	confirmed BOOLEAN NOT NULL, 
	price_usd_per_hour FLOAT NOT NULL, 
	software_usd_per_hour FLOAT NOT NULL, 
	currency VARCHAR(3) NOT NULL, 
	catalogue_version TEXT NOT NULL, 
	stop_microseconds BIGINT NOT NULL, 
	PRIMARY KEY (usage_id)
);
INSERT INTO "usage" VALUES('d290de8c-9263-54a8-8583-900482d04ddc','0199aa00-0000-7000-8000-000000000000','cnn','submit','',1,0,'local','local','machine:00submit:boot','machine','step','local',0,'local','local',1790000000000000,1790000080000000,1790000080000000,0.0,0.0,0,0.0,'',0,0.0,'startup','local',1,0.1,0.0,'USD','2026-11',1790000080000000);
INSERT INTO "usage" VALUES('6b49acb7-d1c6-5a7b-80c5-3171a86165da','0199aa00-0000-7000-8000-000000000000','cnn','prepare','',1,0,'local','local','machine:00prepare:boot','machine','step','local',0,'local','local',1790000001250000,1790000003000000,1790000003000000,2.0,1.0,0,0.0,'',0,0.0,'work','local',1,0.1,0.0,'USD','2026-11',1790000003000000);
INSERT INTO "usage" VALUES('04e9a5c9-fb72-5873-8a3c-da4f5b7fde70','0199aa00-0000-7000-8000-000000000000','cnn','train','',1,0,'local','local','machine:00train:boot','machine','step','local',0,'local','local',1790000003500000,1790000070123457,1790000070123457,0.0,0.0,0,0.0,'',0,0.25,'work','local',1,0.1,0.0,'USD','2026-11',1790000070123457);
INSERT INTO "usage" VALUES('62add13d-7738-5162-8af2-f9cefdffb57b','0199aa00-0000-7000-8000-000000000000','cnn','train','0',1,0,'local','local','machine:00train0:boot','machine','worker','local',0,'local','local',1790000004000000,1790000009000000,1790000009000000,1.0,0.5,0,0.0,'',0,0.0,'startup','local',1,0.1,0.0,'USD','2026-11',1790000009000000);
INSERT INTO "usage" VALUES('f1ddedea-71d1-5f78-a984-74beefb4c465','0199aa00-0000-7000-8000-000000000000','cnn','train','0',1,0,'local','local','machine:00train0:boot','machine','worker','local',0,'local','local',1790000009000000,1790000070000000,1790000070000000,1.0,0.5,2147483648,150000000000.0,'',0,0.0,'work','local',1,0.1,0.0,'USD','2026-11',1790000070000000);
INSERT INTO "usage" VALUES('615e8d76-ff82-5b83-9100-183eecc0bd94','0199aa00-0000-7000-8000-000000000000','cnn','train','1',1,0,'local','local','machine:00train1:boot','machine','worker','local',0,'local','local',1790000004000000,1790000010000001,1790000010000001,1.0,0.5,0,0.0,'',0,0.0,'queue','local',1,0.1,0.0,'USD','2026-11',1790000010000001);
INSERT INTO "usage" VALUES('7f79529c-244e-58f8-a113-7ddd1e2d2a6b','0199aa00-0000-7000-8000-000000000000','cnn','train','1',1,0,'local','local','machine:00train1:boot','machine','worker','local',0,'local','local',1790000010000001,1790000069000000,1790000069000000,1.0,0.5,0,0.0,'',0,0.0,'work','local',1,0.1,0.013,'USD','2026-11',1790000069000000);
INSERT INTO "usage" VALUES('08fc12ea-4f5c-5382-b5d8-032d0e1f5724','0199aa00-0000-7000-8000-000000000000','cnn','evaluate','',1,0,'local','local','machine:00evaluate:boot','machine','step','local',0,'local','local',1790000071000000,1790000079000000,1790000079000000,2.0,1.0,0,0.0,'',0,0.0,'work','local',1,0.1,0.0,'USD','2026-11',1790000079000000);
INSERT INTO "usage" VALUES('2c40b9e6-0bbf-5f73-9e31-23afd13e014d','0199aa01-0000-7000-8000-000000000001','rnn','submit','',1,0,'local','local','machine:01submit:boot','machine','step','local',0,'local','local',1790000040000000,1790000120000000,1790000120000000,0.0,0.0,0,0.0,'',0,0.0,'startup','local',1,0.1,0.0,'USD','2026-11',1790000120000000);
INSERT INTO "usage" VALUES('8f96bd64-29ea-51ef-8b55-6fe6d0d0483c','0199aa01-0000-7000-8000-000000000001','rnn','prepare','',1,0,'local','local','machine:01prepare:boot','machine','step','local',0,'local','local',1790000041250000,1790000043000000,1790000043000000,2.0,1.0,0,0.0,'',0,0.0,'work','local',1,0.1,0.0,'USD','2026-11',1790000043000000);
INSERT INTO "usage" VALUES('342c4cf6-29f1-51a0-ad01-cfe33e56e16c','0199aa01-0000-7000-8000-000000000001','rnn','train','',1,0,'local','local','machine:01train:boot','machine','step','local',0,'local','local',1790000043500000,1790000110123457,1790000110123457,0.0,0.0,0,0.0,'',0,0.25,'work','local',1,0.1,0.0,'USD','2026-11',1790000110123457);
INSERT INTO "usage" VALUES('b89b25ca-adc9-5d98-9cd6-ec2dd5394800','0199aa01-0000-7000-8000-000000000001','rnn','train','0',1,0,'local','local','machine:01train0:boot','machine','worker','local',0,'local','local',1790000044000000,1790000049000000,1790000049000000,1.0,0.5,0,0.0,'',0,0.0,'startup','local',1,0.1,0.0,'USD','2026-11',1790000049000000);
INSERT INTO "usage" VALUES('1e5273da-9f1e-5ec2-afd8-f26f8e6f7d10','0199aa01-0000-7000-8000-000000000001','rnn','train','0',1,0,'local','local','machine:01train0:boot','machine','worker','local',0,'local','local',1790000049000000,1790000110000000,1790000110000000,1.0,0.5,2147483648,150000000000.0,'',0,0.0,'work','local',1,0.1,0.0,'USD','2026-11',1790000110000000);
INSERT INTO "usage" VALUES('96c371a2-d48b-555d-83cb-326cdd0e82f9','0199aa01-0000-7000-8000-000000000001','rnn','train','1',1,0,'local','local','machine:01train1:boot','machine','worker','local',0,'local','local',1790000044000000,1790000050000001,1790000050000001,1.0,0.5,0,0.0,'',0,0.0,'queue','local',1,0.1,0.0,'USD','2026-11',1790000050000001);
INSERT INTO "usage" VALUES('60dca6e0-d479-512b-86a6-9051c7357573','0199aa01-0000-7000-8000-000000000001','rnn','train','1',1,0,'local','local','machine:01train1:boot','machine','worker','local',0,'local','local',1790000050000001,1790000109000000,1790000109000000,1.0,0.5,0,0.0,'',0,0.0,'work','local',1,0.1,0.013,'USD','2026-11',1790000109000000);
INSERT INTO "usage" VALUES('293cb8c2-df77-5659-9e40-5d89f0e566c3','0199aa01-0000-7000-8000-000000000001','rnn','evaluate','',1,0,'local','local','machine:01evaluate:boot','machine','step','local',0,'local','local',1790000111000000,1790000119000000,1790000119000000,2.0,1.0,0,0.0,'',0,0.0,'work','local',1,0.1,0.0,'USD','2026-11',1790000119000000);
INSERT INTO "usage" VALUES('052a9d18-0a01-5865-a09e-df26a0e8febb','0199aa04-0000-7000-8000-000000000004','cnn','submit','',1,0,'local','local','machine:04submit:boot','machine','step','local',0,'local','local',1790000360000000,1790000410000000,1790000410000000,0.0,0.0,0,0.0,'',0,0.0,'startup','local',1,0.1,0.0,'USD','2026-11',1790000410000000);
INSERT INTO "usage" VALUES('7244d9ae-e2c4-5723-bd0a-91f693e2e160','0199aa04-0000-7000-8000-000000000004','cnn','prepare','',1,0,'local','local','machine:04prepare:boot','machine','step','local',0,'local','local',1790000361250000,1790000363000000,1790000363000000,2.0,1.0,0,0.0,'',0,0.0,'work','local',1,0.1,0.0,'USD','2026-11',1790000363000000);
INSERT INTO "usage" VALUES('5d4ec287-2c1d-58c2-b10c-953464bbc70e','0199aa04-0000-7000-8000-000000000004','cnn','train','',1,0,'local','local','machine:04train:boot','machine','step','local',0,'local','local',1790000363500000,1790000390000000,1790000410000000,0.0,0.0,0,0.0,'',0,1.42473118279569904709e-01,'work','local',1,0.1,0.0,'USD','2026-11',1790000390000000);
INSERT INTO "usage" VALUES('4b2d793f-7a47-5412-a54a-469891c75b67','0199aa04-0000-7000-8000-000000000004','cnn','train','0',1,0,'local','local','machine:04train0:boot','machine','worker','local',0,'local','local',1790000364000000,1790000369000000,1790000369000000,1.0,0.5,0,0.0,'',0,0.0,'startup','local',1,0.1,0.0,'USD','2026-11',1790000369000000);
INSERT INTO "usage" VALUES('ab8491fc-cfb1-5f62-b028-0398ed034127','0199aa04-0000-7000-8000-000000000004','cnn','train','0',1,0,'local','local','machine:04train0:boot','machine','worker','local',0,'local','local',1790000369000000,1790000390000000,1790000410000000,1.0,2.56097560975609761513e-01,2147483648,7.68292682926829223651e+10,'',0,0.0,'work','local',1,0.1,0.0,'USD','2026-11',1790000390000000);
INSERT INTO "usage" VALUES('9d4e6e0d-f302-5bda-a611-4ac71d487ce9','0199aa04-0000-7000-8000-000000000004','cnn','train','1',1,0,'local','local','machine:04train1:boot','machine','worker','local',0,'local','local',1790000364000000,1790000370000001,1790000370000001,1.0,0.5,0,0.0,'',0,0.0,'queue','local',1,0.1,0.0,'USD','2026-11',1790000370000001);
INSERT INTO "usage" VALUES('35f4c29f-69d5-5c21-802c-f505a4dc3e30','0199aa04-0000-7000-8000-000000000004','cnn','train','1',1,0,'local','local','machine:04train1:boot','machine','worker','local',0,'local','local',1790000370000001,1790000390000000,1790000410000000,1.0,2.49999993749999843695e-01,0,0.0,'',0,0.0,'work','local',1,0.1,0.013,'USD','2026-11',1790000390000000);
INSERT INTO "usage" VALUES('a4a12017-c850-593f-845a-af02ed80e6f5','0199aa04-0000-7000-8000-000000000004','cnn','train','',1,0,'local','local','machine:04train:boot','machine','step','local',0,'local','local',1790000390000000,1790000410000000,1790000410000000,0.0,0.0,0,0.0,'',0,1.07526881720430109168e-01,'restart','local',1,0.1,0.0,'USD','2026-11',1790000410000000);
INSERT INTO "usage" VALUES('79494117-5b62-5ff5-80cd-c9668e1aa262','0199aa04-0000-7000-8000-000000000004','cnn','train','0',1,0,'local','local','machine:04train0:boot','machine','worker','local',0,'local','local',1790000390000000,1790000410000000,1790000410000000,1.0,2.43902439024390238486e-01,2147483648,7.31707317073170776348e+10,'',0,0.0,'restart','local',1,0.1,0.0,'USD','2026-11',1790000410000000);
INSERT INTO "usage" VALUES('7c359fc7-934d-533a-ae4f-699410982856','0199aa04-0000-7000-8000-000000000004','cnn','train','1',1,0,'local','local','machine:04train1:boot','machine','worker','local',0,'local','local',1790000390000000,1790000410000000,1790000410000000,1.0,2.50000006250000128549e-01,0,0.0,'',0,0.0,'restart','local',1,0.1,0.013,'USD','2026-11',1790000410000000);
INSERT INTO "usage" VALUES('14739def-38f0-593e-b152-478c2d17cb9e','0199aa04-0000-7000-8000-000000000004','cnn','submit','',2,0,'local','local','machine:04submit:boot','machine','step','local',0,'local','local',1790000420000000,1790000500000000,1790000500000000,0.0,0.0,0,0.0,'',0,0.0,'startup','local',1,0.1,0.0,'USD','2026-11',1790000500000000);
INSERT INTO "usage" VALUES('1e0019a7-7981-5b76-bbfa-b6b2f4e66d8e','0199aa04-0000-7000-8000-000000000004','cnn','prepare','',2,0,'local','local','machine:04prepare:boot','machine','step','local',0,'local','local',1790000421250000,1790000423000000,1790000423000000,2.0,1.0,0,0.0,'',0,0.0,'work','local',1,0.1,0.0,'USD','2026-11',1790000423000000);
INSERT INTO "usage" VALUES('1d46f995-ca6f-57d5-8b74-5ba220301118','0199aa04-0000-7000-8000-000000000004','cnn','train','',2,0,'local','local','machine:04train:boot','machine','step','local',0,'local','local',1790000423500000,1790000490123457,1790000490123457,0.0,0.0,0,0.0,'',0,0.25,'work','local',1,0.1,0.0,'USD','2026-11',1790000490123457);
INSERT INTO "usage" VALUES('330ceecb-108a-58f7-a00f-f8ecb390db7d','0199aa04-0000-7000-8000-000000000004','cnn','train','0',2,0,'local','local','machine:04train0:boot','machine','worker','local',0,'local','local',1790000424000000,1790000429000000,1790000429000000,1.0,0.5,0,0.0,'',0,0.0,'startup','local',1,0.1,0.0,'USD','2026-11',1790000429000000);
INSERT INTO "usage" VALUES('22ed9d55-fe53-52c5-ae2a-82ec7c4c284f','0199aa04-0000-7000-8000-000000000004','cnn','train','0',2,0,'local','local','machine:04train0:boot','machine','worker','local',0,'local','local',1790000429000000,1790000490000000,1790000490000000,1.0,0.5,2147483648,150000000000.0,'',0,0.0,'work','local',1,0.1,0.0,'USD','2026-11',1790000490000000);
INSERT INTO "usage" VALUES('4749bc4d-305a-5e5b-b8bb-05c19e95732e','0199aa04-0000-7000-8000-000000000004','cnn','train','1',2,0,'local','local','machine:04train1:boot','machine','worker','local',0,'local','local',1790000424000000,1790000430000001,1790000430000001,1.0,0.5,0,0.0,'',0,0.0,'queue','local',1,0.1,0.0,'USD','2026-11',1790000430000001);
INSERT INTO "usage" VALUES('0f31acd0-2a0e-5581-9481-ec0741facf55','0199aa04-0000-7000-8000-000000000004','cnn','train','1',2,0,'local','local','machine:04train1:boot','machine','worker','local',0,'local','local',1790000430000001,1790000489000000,1790000489000000,1.0,0.5,0,0.0,'',0,0.0,'work','local',1,0.1,0.013,'USD','2026-11',1790000489000000);
INSERT INTO "usage" VALUES('ed723e66-5e88-5605-9fe7-cfdbb88997a5','0199aa04-0000-7000-8000-000000000004','cnn','evaluate','',2,0,'local','local','machine:04evaluate:boot','machine','step','local',0,'local','local',1790000491000000,1790000499000000,1790000499000000,2.0,1.0,0,0.0,'',0,0.0,'work','local',1,0.1,0.0,'USD','2026-11',1790000499000000);
INSERT INTO "usage" VALUES('c6d4d80d-4b4f-579d-bf38-3a3b43c21224','0199aa08-0000-7000-8000-000000000008','cnn','submit','',1,0,'local','local','machine:08submit:boot','machine','step','local',1,'local','local',1790000720000000,NULL,1790000720000000,0.0,0.0,0,0.0,'l4',2,0.0,'startup','local',1,0.1,0.0,'USD','2026-11',1790000720000000);
CREATE INDEX usage_run ON usage (run_id, node_uid, start_microseconds, stop_microseconds);
CREATE INDEX usage_node ON usage (node_uid, stop_microseconds, start_microseconds, run_id);
CREATE INDEX runs_created ON runs (created_at_microseconds);
COMMIT;
